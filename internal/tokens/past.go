package tokens

import "slices"

// Past is what of a session's steps so far, taken in order, says about the next:
// which classes training never had after them or with the session's symbols, and
// which bins are above all that sessions of its label have. Of
// the first column it lowers classes with which no class of a symbol goes: bytes
// after a FIN, a datagram without.
type Past struct {
	codec  *Codec
	census *Census
	about  []int32
	fits   [][2]uint64    // by ordered column: levels that go with the session's symbols, without bytes and with
	left   [][2][2]uint64 // by ordered column, direction, without bytes and with: levels that training had after all that the direction has had
}

// Past begins with no session.
func (n *Census) Past(c *Codec) *Past {
	k := len(n.ordered)
	return &Past{codec: c, census: n, fits: make([][2]uint64, k), left: make([][2][2]uint64, k)}
}

// Begin begins a session of a label and meta, [1+meta], which stay the caller's
// and may not change until the next.
func (p *Past) Begin(about []int32) {
	p.about = about
	for i, k := range p.census.ordered {
		p.left[i] = [2][2]uint64{{^uint64(0), ^uint64(0)}, {^uint64(0), ^uint64(0)}}
		for bytes := range p.fits[i] {
			p.fits[i][bytes] = p.census.pairs.together(p.codec, k, int32(bytes), about)
		}
	}
}

// Add takes in a step, its classes.
func (p *Past) Add(classes []int32) {
	d := p.codec.Side(classes[0])
	for i, k := range p.census.ordered {
		if after := p.census.order.after[k]; after != nil {
			n, kind := 2*p.codec.Steps[k].Levels, int(p.codec.kind(k, classes))
			for kind, ok := range after[kind*n:][:n] {
				if !ok {
					p.left[i][d][kind%2] &^= 1 << (kind / 2)
				}
			}
		}
	}
}

// Weigh lowers the weights of column k's classes for the next step, of which
// classes has the earlier columns. Classes beyond the first column's, as a
// session's end, keep their weight.
func (p *Past) Weigh(w []float32, k int, classes []int32) {
	if k > 0 {
		p.census.Weigh(p.codec, w, k, classes, p.about)
		for i, o := range p.census.ordered {
			if o == k && classes[0] >= 0 {
				lower(w, disorder, p.left[i][p.codec.Side(classes[0])][p.codec.bytes(classes[0])])
			}
		}
		if j := slices.Index(p.census.binned, k); j >= 0 {
			p.census.tails.weigh(w, int(p.about[0]), j, len(p.census.binned))
		}
		return
	}
	var never [4]bool
	any := false
	for i := range p.census.ordered {
		for d, left := range p.left[i] {
			for bytes, fits := range p.fits[i] {
				if left[bytes]&fits == 0 {
					never[2*d+bytes], any = true, true
				}
			}
		}
	}
	if !any {
		return
	}
	for class, of := range p.census.step {
		if never[of] {
			w[class] *= disorder
		}
	}
}

// lower multiplies the weights of classes that are not in a set.
func lower(w []float32, by float32, set uint64) {
	for class := range w {
		if set>>class&1 == 0 {
			w[class] *= by
		}
	}
}

func mask(of []bool) (set uint64) {
	for i, ok := range of {
		if ok {
			set |= 1 << i
		}
	}
	return set
}

// together are the levels of column k that training had without bytes or with,
// with each of a session's symbols, and with both at once.
func (p *pairs) together(c *Codec, k int, bytes int32, about []int32) uint64 {
	set := mask(p.seen[[3]int32{int32(k), -1, bytes}])
	for _, m := range c.kinds() {
		if alone := p.seen[[3]int32{int32(k), int32(m), about[1+m]}]; alone != nil { // of a prefix training may lack a symbol
			set &= mask(alone)
			if p.both {
				set &= mask(p.seen[[3]int32{int32(k), int32(-2 - m), 2*about[1+m] + bytes}])
			}
		}
	}
	return set
}

// steps is, by class of the first column, twice its side, and one more with bytes.
func (c *Codec) steps() []uint8 {
	of := make([]uint8, c.Steps[0].Len())
	for class := range of {
		of[class] = uint8(2*c.Side(int32(class))) + uint8(c.bytes(int32(class)))
	}
	return of
}
