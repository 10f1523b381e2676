package nn

// kernels is one kernel set. Panels (panel.go) are x [in,lanes] and so on;
// weights are row-major [out,in]. Slices may be longer than their shape.
type kernels struct {
	// gruForward computes one step of a gated recurrent unit (Cho et al. 2014,
	// eqs. 5-8), the reset gate applied after the recurrent product, as in
	// PyTorch and cuDNN.
	//
	//	x [in], h, out [hid]; wi [3·hid,in], wh [3·hid,hid], bi, bh [3·hid]: r, z, n
	//	r = σ(wiᵣ·x + biᵣ + whᵣ·h + bhᵣ)          reset gate
	//	z = σ(wi_z·x + bi_z + wh_z·h + bh_z)      update gate
	//	c = whₙ·h + bhₙ
	//	n = tanh(wiₙ·x + biₙ + r⊙c)               candidate
	//	out = n + z⊙(h-n)
	//
	// saved [4·hid] becomes r, z, n, c. out must not overlap h.
	gruForward func(x, h, wi, wh, bi, bh, out, saved []float32, in, hid int)

	// gruGates is the elementwise part of one step backward. saved is what
	// gruForward left, h its h; dh [hid] is ∂L/∂out coming from later steps,
	// dy [hid] that of this step's output.
	//
	//	saved becomes ∂L/∂ of the arguments of r, z and n, and of c
	//	dh becomes (dh+dy)⊙z, its part that does not pass through the gates
	gruGates func(saved, h, dy, dh []float32, hid int)

	// affine: y [out] = w·x + b.
	affine func(y, x, w, b []float32, out, in int)

	// backData: dx [cols] = the first cols of wᵀ·d, added to what dx holds where
	// add is set; d [out], w [out,in].
	backData func(dx, d, w []float32, out, in, cols int, add bool)

	// backWeights: dw [out,in] += Σ_t d_t·x_tᵀ, over steps panels of d [out]
	// and x [in] that begin dStep and xStep floats apart; the sum includes the
	// rows of the tile.
	backWeights func(dw, d, x []float32, out, in, steps, dStep, xStep int)

	// backBias: db [out] += Σ_t Σ_rows d_t.
	backBias func(db, d []float32, out, steps, dStep int)

	// activate: y = a(y), elementwise; activateBack: d = d⊙a'(·) given y = a(·).
	activate     func(a Activation, y []float32)
	activateBack func(a Activation, d, y []float32)

	// panelIn sets panel [f,lanes] from src [rows,f], rows at most lanes, the
	// rest zeros; panelOut sets dst [rows,f] from a panel.
	panelIn  func(panel, src []float32, rows, f int)
	panelOut func(dst, panel []float32, rows, f int)

	// exp, sigmoid, tanh: dst[i] = f(src[i]); dst may be src.
	exp, sigmoid, tanh func(dst, src []float32)

	// expTop makes n features of a panel e^(x - the largest of a row's n), which
	// is 1.
	expTop func(x []float32, n int)

	// softmax makes n features of a panel scale times their softmax, scale being
	// each row's; top and sum become the largest feature of each row and the sum of
	// e^(x - top).
	softmax func(x []float32, n int, scale, top, sum *[lanes]float32)

	// adam is one Adam update with the scalars of Adam.Step.
	adam func(p, g, m, v []float32, c *adamScalars)

	// sum: dst[i] += src[i].
	sum func(dst, src []float32)
}

// adamScalars are the numbers of one update, the same for all parameters.
type adamScalars struct {
	beta1, oneMinusBeta1 float32
	beta2, oneMinusBeta2 float32
	step                 float32 // lr/(1-β₁ᵗ)
	root                 float32 // 1/√(1-β₂ᵗ)
	eps                  float32
}
