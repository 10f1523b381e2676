package testbed

// never is later than everything: 78 hours.
const never int64 = 1<<48 - 1

const leafBits = 16

// calendar holds the next event of every source of events: the head of a
// wire, a flow's timer, a traffic source. Wires keep their order, so a source
// has one next event and the calendar needs as many entries as there are
// sources, not as many as packets in flight.
//
// It is a tournament: leaf i holds time<<16|i, an inner node the smaller of
// its children, node 1 the next event of all. Equal times go to the smaller
// source, so that a run has one order of events.
type calendar struct {
	node []uint64 // [2K], leaves at K+i
}

func newCalendar(sources int) calendar {
	k := 1
	for k < sources {
		k *= 2
	}
	c := calendar{make([]uint64, 2*k)}
	for i := range c.node {
		c.node[i] = uint64(never)<<leafBits | uint64(i%k)
	}
	for i := range k {
		c.set(i, never)
	}
	return c
}

// set moves a source's next event.
func (c *calendar) set(source int, at int64) {
	v := uint64(at)<<leafBits | uint64(source)
	i := uint(source) + uint(len(c.node)/2)
	n := c.node
	n[i] = v
	for i > 1 {
		v = min(v, n[i^1])
		i >>= 1
		n[i] = v
	}
}

// at is when a source's next event is.
func (c *calendar) at(source int) int64 {
	return int64(c.node[source+len(c.node)/2] >> leafBits)
}

// next is the earliest event of all and whose it is.
func (c *calendar) next() (at int64, source int) {
	v := c.node[1]
	return int64(v >> leafBits), int(v & (1<<leafBits - 1))
}

// ring is a FIFO whose indices run on; it grows where it must.
type ring[T any] struct {
	buf        []T // length a power of two
	head, tail uint32
}

func (r *ring[T]) len() int { return int(r.tail - r.head) }

func (r *ring[T]) at(i uint32) *T { return &r.buf[i&uint32(len(r.buf)-1)] }

// push adds an element for the caller to fill; what it holds is undefined.
func (r *ring[T]) push() *T {
	if int(r.tail-r.head) == len(r.buf) {
		r.grow()
	}
	r.tail++
	return r.at(r.tail - 1)
}

func (r *ring[T]) grow() {
	buf := make([]T, max(16, 2*len(r.buf)))
	for i := r.head; i != r.tail; i++ {
		buf[i&uint32(len(buf)-1)] = *r.at(i)
	}
	r.buf = buf
}

// pool hands out numbered records; number 0 is none.
type pool[T any] struct {
	items []T
	free  []uint32
}

func (p *pool[T]) get() (uint32, *T) {
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i, &p.items[i-1]
	}
	var zero T
	p.items = append(p.items, zero)
	return uint32(len(p.items)), &p.items[len(p.items)-1]
}

func (p *pool[T]) at(i uint32) *T { return &p.items[i-1] }

func (p *pool[T]) put(i uint32) {
	if i != 0 {
		p.free = append(p.free, i)
	}
}
