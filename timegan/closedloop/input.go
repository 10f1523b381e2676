package closedloop

import (
	"math"
	"slices"

	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
)

// moment is what the generator knows of a row before it draws a second: the
// last second, running means, and how long ago things changed.
type moment struct {
	Values  []float32 // [F] of the last second; the last good ones where not OK
	OK      []bool    // [F]
	Class   []int32   // [H], -1 where not measured
	X       []float64 // [H] numbers, where Class is not -1
	Mean    []float64 // [averaged,3]
	Limits  []int32   // [S] in force in the last second
	Since   []float64 // [S] seconds since each limit changed
	Rose    float64   // seconds since the buffer rose
	Rises   []float64 // [rises] seconds between rises before that, the latest first
	Top     float64   // buffer after the last rise
	Played  []float64 // [levels] seconds since each level of quality was last seen, through changes of load; nil where they are no inputs
	Seconds uint32    // since the start
	Regime  uint8     // of the next second
	Was     uint8     // the regime before it
	Stay    float64   // seconds that the regime has lasted, the next one not among them
	Left    uint32    // seconds of it that are left: the next one is among them until it is drawn
	Ahead   uint8     // the regime after it
	Stays   uint32    // regimes drawn
}

// newMoment is one that knows nothing.
func (k *codec) newMoment() *moment {
	f, h := len(k.Columns), len(k.Heads)
	m := &moment{
		Values: make([]float32, f), OK: make([]bool, f), Class: make([]int32, h), X: make([]float64, h),
		Mean: make([]float64, len(k.means)*len(averages)), Limits: make([]int32, k.Switches), Since: make([]float64, k.Switches), Rises: make([]float64, rises),
		Played: make([]float64, k.playedIn()),
	}
	k.forget(m)
	return m
}

func (k *codec) forget(m *moment) {
	clear(m.Values)
	for j, c := range k.Columns {
		m.Values[j] = c.Lo
	}
	clear(m.OK)
	for h := range m.Class {
		m.Class[h], m.X[h] = -1, 0
	}
	clear(m.Mean)
	clear(m.Limits)
	for s := range m.Since {
		m.Since[s] = longAgo
	}
	m.Rose, m.Top, m.Seconds = longAgo, float64(0), 0
	for i := range m.Rises {
		m.Rises[i] = longAgo
	}
	for l := range m.Played {
		m.Played[l] = longAgo
	}
	m.Regime, m.Was, m.Stay, m.Left, m.Ahead, m.Stays = 0, 0, longAgo, 0, 0, 0
}

// averaged are the heads whose running means are inputs: what the queues hold
// of their limits, and how the buffer changes.
func (k *codec) averaged() []int {
	var of []int
	for h, hd := range k.Heads {
		if c := k.Columns[hd.Column].Kind; hd.Bins != nil && (c == shareKind || c == changeKind) {
			of = append(of, h)
		}
	}
	return of
}

// scaled is x of a head on the scale of inputs.
func (k *codec) scaled(h int, x float64) float64 {
	c := &k.Columns[k.Heads[h].Column]
	return min(max((x-c.Mean)/c.SD, -4), 4)
}

// turn makes z the regime of the next second; restart also forgets when the
// buffer rose.
func (m *moment) turn(z uint8, restart bool) {
	if z == m.Regime {
		return
	}
	if m.Seconds > 0 { // else it is the first
		m.Was, m.Stay = m.Regime, 0
		if restart {
			m.Rose = longAgo
			for i := range m.Rises {
				m.Rises[i] = longAgo
			}
		}
	} else {
		m.Was = z
	}
	m.Regime = z
}

// turning is how the load changes about the next second: 0 not at all, else from
// which regime to which, and whether it does so in the second after, in this one,
// a second ago, or two or three.
func (k *codec) turning(m *moment) int32 {
	from, to, age := m.Was, m.Regime, 0
	switch {
	case m.Left == 0 && m.Ahead != m.Regime:
		from, to = m.Regime, m.Ahead
	case m.Stay == 0:
		age = 1
	case m.Stay == 1:
		age = 2
	case m.Stay < 4:
		age = 3
	default:
		return 0
	}
	class := (int(from)*k.Load.K+int(to))*ages + age
	if len(k.Full) > 0 {
		class *= 2
		if k.idle(m) {
			class++
		}
	}
	return int32(1 + class)
}

// turnings is how many classes turning has beside 0.
func (k *codec) turnings() int {
	n := k.Load.K * k.Load.K * ages
	if len(k.Full) > 0 {
		n *= 2
	}
	return n
}

// idle says whether the player's buffer is about as full as it gets at the level
// that plays: then it waits, else a download is in progress, which is complete
// as soon as the load goes.
func (k *codec) idle(m *moment) bool {
	l := k.playing(m.Values, m.OK)
	return l >= 0 && m.OK[k.Buffer] && float64(m.Values[k.Buffer]) > k.Full[l]-segment
}

// playing is level, or 0 where qualities do not come in levels.
func (k *codec) playing(values []float32, ok []bool) int32 {
	if k.Levels == 0 {
		return 0
	}
	return k.level(values, ok)
}

// segment is about how much video a download brings, seconds.
const segment = 4

// ages is how many seconds about a change of load turning tells apart.
const ages = 4

// lead is how many heads the network has before those of the codec: 1 where the
// load has regimes. Its class is given, by turning; it adds to the logits of the
// others whatever else is the case. Changes of load are some forty in ten hours:
// a recurrent network that has them as inputs learns each by heart.
func (k *codec) lead() int {
	if k.Load.K > 1 {
		return 1
	}
	return 0
}

// observe moves m on by a second of values, under limits.
func (k *codec) observe(m *moment, values []float32, ok []bool, limits []int32) {
	first := m.Seconds == 0
	for h := range k.Heads {
		hd := &k.Heads[h]
		m.Class[h] = -1
		if hd.Bins == nil {
			m.Class[h] = k.level(values, ok)
			continue
		}
		if first && k.Columns[hd.Column].Kind == changeKind || !k.measured(hd.Column, ok, m.OK) {
			continue
		}
		m.X[h] = k.number(hd.Column, values, m.Values, limits)
		m.Class[h] = hd.Bins.Encode(m.X[h])
	}
	k.settle(m, values, ok, limits)
}

// settle is observe where classes and numbers are known: they were drawn.
func (k *codec) settle(m *moment, values []float32, ok []bool, limits []int32) {
	begun := float64(m.Seconds) + 1
	if k.Restart { // what was measured under one load says nothing of the next
		begun = min(begun, m.Stay+1)
	}
	for i, h := range k.means {
		if m.Class[h] < 0 {
			continue
		}
		x := k.scaled(h, m.X[h])
		for j, tau := range averages {
			a := &m.Mean[i*len(averages)+j]
			if begun < tau { // a plain mean at first
				tau = begun
			}
			*a += (x - *a) / tau
		}
	}
	m.Rose, m.Stay = min(m.Rose+1, longAgo), min(m.Stay+1, longAgo)
	if b := k.Buffer; b >= 0 && m.OK[b] && ok[b] && values[b] > m.Values[b] {
		copy(m.Rises[1:], m.Rises)
		m.Rises[0], m.Rose, m.Top = m.Rose, 0, float64(values[b])
	}
	for l := range m.Played {
		m.Played[l] = min(m.Played[l]+1, longAgo)
	}
	if len(m.Played) > 0 {
		if l := m.Class[k.levelHead()]; l >= 0 {
			m.Played[l] = 0
		}
	}
	for s, l := range limits {
		m.Since[s] = min(m.Since[s]+1, longAgo)
		if m.Seconds > 0 && l != m.Limits[s] {
			m.Since[s] = 0
		}
		m.Limits[s] = l
	}
	for j := range values {
		if ok[j] {
			m.Values[j] = values[j]
		}
		m.OK[j] = ok[j]
	}
	m.Seconds++
}

// level is the class of a second's quality columns; -1 where one is missing.
func (k *codec) level(values []float32, ok []bool) int32 {
	for l := range k.Levels {
		same := true
		for j := range k.Columns {
			c := &k.Columns[j]
			if c.Kind != qualityKind {
				continue
			}
			if !ok[j] {
				return -1
			}
			if values[j] != c.Levels[l] {
				same = false
				break
			}
		}
		if same {
			return int32(l)
		}
	}
	return -1
}

// limitsIn is how many limits are known, of all switches.
func (k *codec) limitsIn() int {
	n := 0
	for _, l := range k.Limits {
		n += len(l)
	}
	return n
}

// numbersIn is how many numbers an input has.
func (k *codec) numbersIn() int {
	n := k.given() - k.regimesIn() - k.clockIn()
	if !k.Open {
		n += len(k.Heads) + len(k.Knots) + len(k.means)*len(averages)
		if k.Buffer >= 0 {
			n += 2 + rises
		}
		n += k.playedIn()
	}
	return n + k.regimesIn() + k.clockIn()
}

// given is how many of the numbers are not measurements: limits, regime, clock.
func (k *codec) given() int {
	return 2*k.limitsIn() + k.Switches + k.regimesIn() + k.clockIn()
}

func (k *codec) regimesIn() int {
	if k.Load.K > 1 {
		return k.Load.K
	}
	return 0
}

func (k *codec) clockIn() int {
	if k.Clock > 0 {
		return 4
	}
	return 0
}

// tokensIn are the heads whose last class is an input as it is.
func (k *codec) tokensIn() []int {
	if k.Open {
		return nil
	}
	var of []int
	for h, hd := range k.Heads {
		if hd.Bins == nil || k.Columns[hd.Column].Kind == changeKind {
			of = append(of, h)
		}
	}
	return of
}

// input writes what the generator reads before a second under limits: numbers
// x and tokens. second is that of the clock. hide leaves out the last second.
func (k *codec) input(m *moment, limits []int32, second int, hide bool, x []float32, tokens []int32) {
	clear(x)
	at := 0
	for s, l := range limits {
		known := k.Limits[s]
		hats32(x[at:][:len(known)], known, l)
		at += len(known)
		before, since := m.Limits[s], m.Since[s]
		if m.Seconds == 0 {
			before = l
		}
		if before != l {
			since = 0
		} else {
			since = min(since+1, longAgo)
		}
		hats32(x[at:][:len(known)], known, before)
		at += len(known)
		x[at] = since01(since)
		at++
	}
	if n := k.regimesIn(); n > 0 {
		x[at+int(m.Regime)] = 1
		at += n
	}
	if k.Clock > 0 {
		for i := range 2 {
			sin, cos := math.Sincos(2 * math.Pi * float64(i+1) * float64(second) / float64(k.Clock))
			x[at], x[at+1] = float32(sin), float32(cos)
			at += 2
		}
	}
	for i, h := range k.heads {
		tokens[i] = -1
		if !hide {
			tokens[i] = m.Class[h]
		}
	}
	if k.Open || hide {
		return
	}
	for h := range k.Heads {
		switch {
		case m.Class[h] < 0:
		case k.Heads[h].Bins == nil:
			x[at+h] = float32(2*float64(m.Class[h])/float64(max(k.Levels-1, 1)) - 1)
		default:
			x[at+h] = float32(k.scaled(h, m.X[h]))
		}
	}
	at += len(k.Heads)
	if k.Buffer >= 0 {
		if m.OK[k.Buffer] {
			hats(x[at:][:len(k.Knots)], k.Knots, float64(m.Values[k.Buffer]))
		}
		at += len(k.Knots)
	}
	for _, a := range m.Mean {
		x[at] = float32(a)
		at++
	}
	if k.Buffer >= 0 {
		x[at] = since01(m.Rose)
		x[at+1] = float32(m.Top / max(k.Knots[len(k.Knots)-1], 1))
		for i, n := range m.Rises {
			x[at+2+i] = since01(n)
		}
		at += 2 + rises
	}
	for l, n := range m.Played {
		x[at+l] = since01(n)
	}
}

// levelHead is the head of the levels of quality; -1 without.
func (k *codec) levelHead() int {
	return slices.IndexFunc(k.Heads, func(h head) bool { return h.Bins == nil })
}

// playedIn is how many levels of quality have their time since they were last seen as
// an input. A player that showed one of late is near to showing it again, and knows so
// whatever becomes of the load.
func (k *codec) playedIn() int {
	if !k.Played || k.Levels < 2 {
		return 0
	}
	return k.Levels
}

// since01 is seconds since something, up to longAgo, as an input: 0 to 1, on a
// logarithmic scale.
func since01(seconds float64) float32 {
	if i := int(seconds); i >= 0 && i < len(sinces) && float64(i) == seconds {
		return sinces[i]
	}
	return float32(math.Log1p(seconds) / math.Log1p(longAgo))
}

// sinces is since01 of whole seconds.
var sinces = func() (all [longAgo + 1]float32) {
	for i := range all {
		all[i] = float32(math.Log1p(float64(i)) / math.Log1p(longAgo))
	}
	return all
}()

// hats writes how near x is to each knot: 1 at one, falling to 0 at the next.
func hats(to []float32, knots []float64, x float64) {
	n := len(knots)
	i, _ := slices.BinarySearch(knots, x)
	switch {
	case i == 0:
		to[0] = 1
	case i == n:
		to[n-1] = 1
	default:
		f := (x - knots[i-1]) / (knots[i] - knots[i-1])
		to[i-1], to[i] = float32(1-f), float32(f)
	}
}

// hats32 is hats of a limit among those recorded, on a logarithmic scale.
func hats32(to []float32, known []int32, limit int32) {
	i, ok := slices.BinarySearch(known, limit)
	switch n := len(known); {
	case ok:
		to[i] = 1
	case i == 0:
		to[0] = 1
	case i == n:
		to[n-1] = 1
	default:
		lo, hi := math.Log(float64(known[i-1])), math.Log(float64(known[i]))
		f := (math.Log(float64(limit)) - lo) / (hi - lo)
		to[i-1], to[i] = float32(1-f), float32(f)
	}
}

// network is the generator's sizes.
func (k *codec) network(c Config) seq.Config {
	n := seq.Config{Dense: k.numbersIn(), Hidden: c.Hidden}
	for _, h := range k.heads {
		n.Embeddings = append(n.Embeddings, seq.Embedding{Name: k.Heads[h].Name, Size: k.size(h), Dim: min(k.size(h), 4)})
	}
	lead := k.lead()
	if lead > 0 {
		n.Heads = append(n.Heads, seq.Head{Name: "turning", Size: 1 + k.turnings()})
	}
	for h, hd := range k.Heads {
		var given []int
		if lead > 0 {
			given = append(given, 0)
		}
		for _, g := range hd.Given {
			given = append(given, g+lead)
		}
		n.Heads = append(n.Heads, seq.Head{Name: hd.Name, Size: k.size(h), Given: given})
	}
	return n
}

// size is how many classes a head has.
func (k *codec) size(h int) int {
	if b := k.Heads[h].Bins; b != nil {
		return b.Len()
	}
	return k.Levels
}

// track is a recording as inputs and classes, second by second; the first
// second is only looked back at.
type track struct {
	seconds int
	x       []float32 // [T,D]
	tokens  []int32   // [T,E]
	classes []int32   // [T,lead+H]
	turns   []int     // seconds that begin another regime, ascending
}

// encode makes the tracks of a recording and the regimes of its seconds.
func (k *codec) encode(r telemetry.Recording, regimes []uint8) track {
	d, e, h := k.numbersIn(), len(k.heads), k.lead()+len(k.Heads)
	n := r.Data.Len()
	t := track{seconds: n, x: make([]float32, n*d), tokens: make([]int32, n*e), classes: make([]int32, n*h)}
	k.walk(r, regimes, func(s int, m *moment, limits []int32) {
		if s > 0 && regimes[s] != regimes[s-1] {
			t.turns = append(t.turns, s)
		}
		k.input(m, limits, s, false, t.x[s*d:][:d], t.tokens[s*e:][:e])
		if k.lead() > 0 {
			t.classes[s*h] = k.turning(m)
		}
	}, func(s int, m *moment) { copy(t.classes[s*h+k.lead():], m.Class) })
	return t
}

// walk goes through a recording, whose seconds have regimes: before and after each
// second it calls what it is given, with what is known then. after may be nil.
func (k *codec) walk(r telemetry.Recording, regimes []uint8, before func(s int, m *moment, limits []int32), after func(s int, m *moment)) {
	m := k.newMoment()
	values, ok, limits := make([]float32, len(k.Columns)), make([]bool, len(k.Columns)), make([]int32, k.Switches)
	for s := range r.Data.Len() {
		r.LimitsAt(s, limits)
		k.enter(m, regimes, s)
		before(s, m, limits)
		r.Data.Copy(s, values, ok)
		k.observe(m, values, ok, limits)
		if after != nil {
			after(s, m)
		}
	}
}

// enter makes second s of regimes the next one of m.
func (k *codec) enter(m *moment, regimes []uint8, s int) {
	m.turn(regimes[s], k.Restart)
	if m.Left = 1; s+1 < len(regimes) && regimes[s+1] != regimes[s] {
		m.Left, m.Ahead = 0, regimes[s+1]
	}
}
