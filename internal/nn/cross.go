package nn

// Cross adds aᵀ·b to sum [n,m], for rows a [rows,n] and b [rows,m].
func Cross(be *Backend, sum, a, b []float32, n, m int) {
	rows := len(a) / n
	check("cross sum", len(sum), n, m)
	check("cross a", len(a), rows, n)
	check("cross b", len(b), rows, m)
	if rows == 0 {
		return
	}
	T := tiles(rows)
	mem := be.Scratch(T * (n + m) * lanes)
	pa, pb := mem[:T*n*lanes], mem[T*n*lanes:]
	for t := range T {
		k := min(lanes, rows-t*lanes)
		kernelsOf(be).panelIn(pa[t*n*lanes:], a[t*lanes*n:], k, n)
		kernelsOf(be).panelIn(pb[t*m*lanes:], b[t*lanes*m:], k, m)
	}
	kernelsOf(be).backWeights(sum, pa, pb, n, m, T, n*lanes, m*lanes)
}

// CrossBack takes s [n,m], ∂L/∂sum of Cross, and adds ∂L/∂a = b·sᵀ to da and
// ∂L/∂b = a·s to db. da and db may overlap, and a and b.
func CrossBack(be *Backend, da, db, a, b, s []float32, n, m int) {
	rows := len(a) / n
	check("cross gradient", len(s), n, m)
	check("cross a", len(a), rows, n)
	check("cross b", len(b), rows, m)
	check("cross gradient of a", len(da), rows, n)
	check("cross gradient of b", len(db), rows, m)
	mem := be.Scratch((3*n+2*m)*lanes + n)
	pa, mem := mem[:n*lanes], mem[n*lanes:]
	ga, mem := mem[:n*lanes], mem[n*lanes:]
	product, mem := mem[:n*lanes], mem[n*lanes:]
	pb, mem := mem[:m*lanes], mem[m*lanes:]
	gb, zero := mem[:m*lanes], mem[m*lanes:]
	clear(zero)
	for t := range tiles(rows) {
		k := min(lanes, rows-t*lanes)
		kernelsOf(be).panelIn(pa, a[t*lanes*n:], k, n)
		kernelsOf(be).panelIn(pb, b[t*lanes*m:], k, m)
		kernelsOf(be).affine(product, pb, s, zero, n, m)
		kernelsOf(be).panelIn(ga, da[t*lanes*n:], k, n)
		kernelsOf(be).sum(ga, product)
		kernelsOf(be).panelOut(da[t*lanes*n:], ga, k, n)
		kernelsOf(be).panelIn(gb, db[t*lanes*m:], k, m)
		kernelsOf(be).backData(gb, pa, s, n, m, m, true)
		kernelsOf(be).panelOut(db[t*lanes*m:], gb, k, m)
	}
}
