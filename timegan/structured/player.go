package structured

import (
	"context"
	"fmt"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/nn"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

const (
	maxQueued = 32 // segments in a buffer
	window    = 4  // downloads whose throughput a player averages (dash.js, ThroughputHistory)
	least     = .3 // seconds, the shortest download that is distinguished from the next
	tooSlow   = 1.8
	firstLook = .5 // seconds
)

// download is one as a recording shows it: buffers rise when it ends, so its
// length is known to a second.
type download struct {
	regime, limit, level int
	idle                 float64 // seconds the player had waited before it
	lo, hi               float64 // seconds it took; hi is infinite where it was given up
	alike                bool    // regime and limit were the same all along
}

// request is what a player asked for, and what it knew.
type request struct {
	level  int // asked for
	before known
	of     [window]int // the downloads whose throughput is known, the last one last
}

// known is what a player chooses a level by.
type known struct {
	level      int     // of the download before
	buffer     float64 // seconds
	mean, last float64 // kbit/s of the last few downloads, and of the last one
	waited     float64 // seconds for the buffer to fall
	stalled    bool
}

// start is how a recording begins.
type start struct {
	buffer float64
	level  int
}

// track reads downloads and requests off a recording, by the player's rule:
// a second played takes one off the buffer, what is complete adds a segment;
// the next is asked for at once, or when the buffer has fallen to its target.
func (m *Model) track(r telemetry.Recording, path []uint8) (down []download, asked []request, first start) {
	c := &m.Config
	lbo, stall := m.column(lboKind), m.column(stallKind)
	n := r.Data.Len()
	level := make([]int, n)
	for t := range n {
		level[t] = m.levelAt(r, t)
	}
	at := func(t, col int) float64 { v, _ := r.Data.At(t, col); return float64(v) }
	first = start{at(0, lbo), level[0]}
	var of []int                         // downloads that were completed
	from, idle, row := math.NaN(), 0., 0 // when and in which second the download under way was asked for; NaN: not known
	stalledIn := func(t int) float64 {
		if stall >= 0 {
			return at(t, stall)
		}
		return max(0, 1-at(t-1, lbo))
	}
	// alike says whether regime and limit were the same from the request on.
	alike := func(t int) bool {
		for u := min(int(from)+1, t); u < t; u++ {
			if path[u] != path[t] || r.LimitAt(u) != r.LimitAt(t) {
				return false
			}
		}
		return true
	}
	keep := func(t int, lo, hi float64) {
		down = append(down, download{int(path[t]), r.LimitAt(t), level[t-1], idle, max(lo, .05), hi, alike(t)})
	}
	for t := 1; t < n; t++ {
		b := at(t, lbo)
		came := math.Round((b - at(t-1, lbo) + 1 - stalledIn(t)) / c.SegmentS)
		if came < 1 { // level changes: a new request, or a download given up
			if level[t] != level[t-1] && from == from && t > row {
				took := float64(t) - .5 - from
				keep(t, took-.5, math.Inf(1))
				from, idle = float64(t)-.5, 0
			}
			continue
		}
		if from == from && came == 1 && float64(t)-.5 > from {
			took := float64(t) - .5 - from
			spread := .5 // seconds, of its end
			if idle == 0 {
				spread = math.Sqrt(.5) // and of its beginning
			}
			keep(t, took-spread, took+spread)
			of = append(of, len(down)-1)
		}
		target := c.StableS
		if level[t-1] == len(m.Kbps)-1 {
			target = c.TopS
		}
		idle = max(b+.5-target, 0) // b is of the second's end, some half a second later
		before := known{level: level[t-1], buffer: b + .5, waited: idle, stalled: stalledIn(t) > 0}
		from, row = float64(t)-.5, t
		if idle > 0 {
			from, before.buffer = float64(t)+b-target, target
			row = int(math.Ceil(from))
		}
		if row < n && len(of) >= window {
			asked = append(asked, request{level[row], before, [window]int(of[len(of)-window:])})
		}
	}
	return down, asked, first
}

// took estimates how long a download took: the mean of what
// the network gives between the bounds that the recording does.
func (m *Model) took(run *nn.MLPRun, x, y []float32, d *download) float64 {
	if math.IsInf(d.hi, 1) || !d.alike {
		return max((d.lo+min(d.hi, d.lo+1))/2, least)
	}
	m.paceInput(x, d.regime, float64(d.limit), d.level, d.idle)
	run.Forward(x, y)
	mu, s := m.pace(y, d.level)
	sigma := math.Exp(s)
	a, b := (math.Log(d.lo)-mu)/sigma, (math.Log(d.hi)-mu)/sigma
	if p := cumulative(b) - cumulative(a); p > 1e-6 {
		return math.Exp(mu + sigma*(density(a)-density(b))/p)
	}
	return math.Sqrt(d.lo * d.hi)
}

// paceIn is how many inputs the network of downloads has, levelIn that of
// requests.
func (m *Model) paceIn() int  { return m.Config.Regimes + 4 }
func (m *Model) levelIn() int { return len(m.Kbps) + 5 }

// paceInput fills x with what a download's length depends on.
func (m *Model) paceInput(x []float32, regime int, limit float64, level int, idle float64) {
	k := m.Config.Regimes
	clear(x)
	x[regime] = 1
	x[k] = float32(m.place(limit))
	x[k+1] = float32(m.rung(m.Kbps[level]))
	x[k+2] = float32(min(idle/m.Config.SegmentS, 1))
	if idle > 0 {
		x[k+3] = 1
	}
}

// levelInput fills x with what a player knows.
func (m *Model) levelInput(x []float32, k known) {
	n := len(m.Kbps)
	clear(x)
	x[k.level] = 1
	x[n] = float32(k.buffer / m.Config.TopS)
	x[n+1] = float32(m.rung(k.mean))
	x[n+2] = float32(m.rung(k.last))
	x[n+3] = float32(min(k.waited/m.Config.SegmentS, 1))
	if k.stalled {
		x[n+4] = 1
	}
}

// place is a limit's on a scale of powers, 0 the smallest recorded, 1 the
// largest.
func (m *Model) place(limit float64) float64 {
	lo, hi := float64(m.Limits[0]), float64(m.Limits[len(m.Limits)-1])
	if lo == hi {
		return 0
	}
	return math.Log(limit/lo) / math.Log(hi/lo)
}

// rung is a bitrate's on a scale of powers, 0 the ladder's lowest, 1 its
// highest.
func (m *Model) rung(kbps float64) float64 {
	lo, hi := m.Kbps[0], m.Kbps[len(m.Kbps)-1]
	if lo == hi {
		return math.Log(kbps / lo)
	}
	return math.Log(kbps/lo) / math.Log(hi/lo)
}

// pace is the mean and the deviation of a download's log seconds of what its
// network gives.
func (m *Model) pace(y []float32, level int) (mu, s float64) {
	return math.Log(m.Kbps[level]*m.Config.SegmentS) - m.Rate - float64(y[0]), min(max(float64(y[1])-1, -4), 1.5)
}

// fitPlayer fits both networks: of downloads first, since what a player has
// seen of them it tells.
func (m *Model) fitPlayer(ctx context.Context, be *compute.Backend, down []download, asked []request) error {
	var use []*download
	rate := 0.
	for i := range down {
		if d := &down[i]; d.alike {
			use = append(use, d)
			rate += math.Log(m.Kbps[d.level]*m.Config.SegmentS) - math.Log(max((d.lo+min(d.hi, d.lo+1))/2, least))
		}
	}
	if len(use) < 100 || len(asked) < 100 {
		return fmt.Errorf("structured: lbo_s: %d downloads and %d requests can be told apart: 100 at least are needed", len(use), len(asked))
	}
	m.Downloads, m.Rate = len(use), rate/float64(len(use))
	var err error
	m.PaceLoss, err = train(ctx, m.paceNet, be, rng.Key{Seed: m.Config.Seed, B: 0, Purpose: rng.Init}, len(use), m.Config.Updates,
		func(i int, x []float32) {
			d := use[i]
			m.paceInput(x, d.regime, float64(d.limit), d.level, d.idle)
		},
		func(i int, y, dy []float32) float64 {
			d := use[i]
			mu, s := m.pace(y, d.level)
			loss, dmu, ds := took(mu, s, d.lo, d.hi)
			dy[0], dy[1] = float32(-dmu), float32(ds)
			if s != float64(y[1])-1 && ds*(float64(y[1])-1-s) < 0 { // clamped, and would go farther
				dy[1] = 0
			}
			return loss
		})
	if err != nil {
		return err
	}
	run, x, y := m.paceNet.NewRun(be, 1), make([]float32, m.paceIn()), make([]float32, 2)
	kbps := make([]float64, len(down))
	for i := range down {
		kbps[i] = m.Kbps[down[i].level] * m.Config.SegmentS / m.took(run, x, y, &down[i])
	}
	for i := range asked {
		k := &asked[i].before
		for _, d := range asked[i].of {
			k.mean, k.last = k.mean+kbps[d]/window, kbps[d]
		}
	}
	p := make([]float64, len(m.Kbps))
	m.LevelLoss, err = train(ctx, m.levelNet, be, rng.Key{Seed: m.Config.Seed, B: 16, Purpose: rng.Init}, len(asked), m.Config.Updates,
		func(i int, x []float32) { m.levelInput(x, asked[i].before) },
		func(i int, y, dy []float32) float64 {
			softmax(y, p)
			for l := range p {
				dy[l] = float32(p[l])
			}
			dy[asked[i].level]--
			return -math.Log(max(p[asked[i].level], 1e-12))
		})
	return err
}
