package nn

// Cross adds aᵀ·b to sum [n,m], for rows a [rows,n] and b [rows,m].
func (be *Backend) Cross(sum, a, b []float32, n, m int) {
	rows := len(a) / n
	check("cross sum", len(sum), n, m)
	check("cross a", len(a), rows, n)
	check("cross b", len(b), rows, m)
	if rows == 0 {
		return
	}
	T := tiles(rows)
	mem := be.borrow(T * (n + m) * lanes)
	pa, pb := mem[:T*n*lanes], mem[T*n*lanes:]
	for t := range T {
		k := min(lanes, rows-t*lanes)
		be.k.panelIn(pa[t*n*lanes:], a[t*lanes*n:], k, n)
		be.k.panelIn(pb[t*m*lanes:], b[t*lanes*m:], k, m)
	}
	be.k.backWeights(sum, pa, pb, n, m, T, n*lanes, m*lanes)
}

// CrossBack takes s [n,m], ∂L/∂sum of Cross, and adds ∂L/∂a = b·sᵀ to da and
// ∂L/∂b = a·s to db. da and db may overlap, and a and b.
func (be *Backend) CrossBack(da, db, a, b, s []float32, n, m int) {
	rows := len(a) / n
	check("cross gradient", len(s), n, m)
	check("cross a", len(a), rows, n)
	check("cross b", len(b), rows, m)
	check("cross gradient of a", len(da), rows, n)
	check("cross gradient of b", len(db), rows, m)
	mem := be.borrow((3*n+2*m)*lanes + n)
	pa, mem := mem[:n*lanes], mem[n*lanes:]
	ga, mem := mem[:n*lanes], mem[n*lanes:]
	product, mem := mem[:n*lanes], mem[n*lanes:]
	pb, mem := mem[:m*lanes], mem[m*lanes:]
	gb, zero := mem[:m*lanes], mem[m*lanes:]
	clear(zero)
	for t := range tiles(rows) {
		k := min(lanes, rows-t*lanes)
		be.k.panelIn(pa, a[t*lanes*n:], k, n)
		be.k.panelIn(pb, b[t*lanes*m:], k, m)
		be.k.affine(product, pb, s, zero, n, m)
		be.k.panelIn(ga, da[t*lanes*n:], k, n)
		be.k.sum(ga, product)
		be.k.panelOut(da[t*lanes*n:], ga, k, n)
		be.k.panelIn(gb, db[t*lanes*m:], k, m)
		be.k.backData(gb, pa, s, n, m, true)
		be.k.panelOut(db[t*lanes*m:], gb, k, m)
	}
}
