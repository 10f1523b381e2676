// Package live collects the reports of running switches and the samples of a player,
// and joins them second by second into the columns of telemetry.Join.
//
// A Collector is fed by its sources, each a method that runs until its context
// ends: ServeUDP (telemetry reports), Frame (packets that a P4Runtime stream
// hands up), ReadPcap, Player (a player's samples over HTTP) and Tail (a
// player's log). Memory is bounded: where input comes faster than it is
// read, the oldest is dropped and counted.
package live

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/planegym/planegym/internal/wait"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
)

// Config says what is collected.
type Config struct {
	// Switches are the ids that reports call the switches by, in order of the
	// path: Switches[0] is switch 1 of the columns.
	Switches []uint32
	// Ports are the egress ports, by switch, whose queues are meant; nil: all.
	// Where traffic is reported both ways a switch reports two queues. A hop
	// that does not name its port is taken.
	Ports []uint32
	// Aggregate makes one value a second of its reports; "" is max-timedelta1,
	// for reports that cover the whole path, as probes do. Reports of one
	// hop each need another one.
	Aggregate telemetry.Aggregation
	// Stalls says that the player reports stalls, in column stall_s.
	Stalls bool
	// Reports is how many reports are buffered, 0: 65,536, about 80 bytes a switch
	// each.
	Reports int
	// Settle is how long after the end of a window what was measured in it may
	// still come in; 0: 250 ms.
	Settle time.Duration
	// Second is how long a second of what is measured takes by our clock; 0:
	// 1 s. Emulated switches may be faster; the stamps of reports and samples
	// are none the less of clocks that run as ours.
	Second time.Duration
	// Tap, where not nil, is called with what comes in, before it is joined.
	Tap *Tap
	// Probes says whose reports ServeUDP takes, PlayerAccess whose samples
	// Player does.
	Probes, PlayerAccess Access
	// Decode says how reports are read.
	Decode intreport.Config
}

// Tap receives what comes in, with its time of measurement by our clock.
// Its functions are called one at a time and own nothing: they copy what they
// keep. They must not call the Collector. Either may be nil.
type Tap struct {
	Report func(at time.Time, values []float64, valid []bool) // [3S] as Columns, before they are joined
	Sample func(at time.Time, values []float64, valid []bool) // by PlayerFields
}

// PlayerFields are what a sample of the player is made of.
func PlayerFields() []telemetry.Field {
	var f []telemetry.Field
	for _, name := range playerNames {
		x, _ := telemetry.Canonical(name)
		f = append(f, x)
	}
	return f
}

const (
	maxSwitches = 16
	maxSamples  = 4096 // of the player kept: over an hour
	maxNodes    = 256  // whose sequence numbers are followed
)

func (c Config) withDefaults() (Config, error) {
	if c.Aggregate == "" {
		c.Aggregate = telemetry.MaxTimedelta1
	}
	if c.Reports == 0 {
		c.Reports = 1 << 16
	}
	if c.Settle == 0 {
		c.Settle = 250 * time.Millisecond
	}
	if c.Second == 0 {
		c.Second = time.Second
	}
	switch {
	case c.Second < 0 || c.Second > time.Hour:
		return c, fmt.Errorf("live: second: %v is not between 0 and 1h", c.Second)
	case len(c.Switches) == 0 || len(c.Switches) > maxSwitches:
		return c, fmt.Errorf("live: switches: %d are not between 1 and %d", len(c.Switches), maxSwitches)
	case c.Ports != nil && len(c.Ports) != len(c.Switches):
		return c, fmt.Errorf("live: ports: %d for %d switches", len(c.Ports), len(c.Switches))
	case c.Reports < 1 || c.Reports > 1<<24:
		return c, fmt.Errorf("live: reports: %d is not between 1 and %d", c.Reports, 1<<24)
	case c.Settle < 0 || c.Settle > time.Minute:
		return c, fmt.Errorf("live: settle: %v is not between 0 and 1m", c.Settle)
	}
	for i, id := range c.Switches {
		if slices.Contains(c.Switches[:i], id) {
			return c, fmt.Errorf("live: switches: %d is there twice", id)
		}
	}
	return c, nil
}

// The player's columns, in the order in which they are stored.
const (
	lbo = iota
	fps
	kbps
	counter
	width
	height
	stall
	playerColumns
)

var playerNames = [playerColumns]string{"lbo_s", "fps", "rep_kbps", "calc_cum", "width", "height", "stall_s"}

// sample is one sample of the player, at its time on the lattice of seconds.
type sample struct {
	at     int64
	values [playerColumns]float64
	valid  [playerColumns]bool
}

// Collector joins what its sources tell. Its methods may be called at once.
type Collector struct {
	cfg     Config
	columns []telemetry.Field
	hops    int // columns before the player's
	base    time.Time

	mu      sync.Mutex
	decoder *intreport.Decoder
	each    func(*intreport.Report)
	at      int64 // when what is being decoded came
	second  *telemetry.Second

	// Rings of what was kept; times are ns since base, by our clock.
	times   []int64   // [R]
	values  []float64 // [R,3S]
	valid   []bool    // [R,3S]
	next    int       // where the next report goes
	kept    int
	samples []sample
	newest  int

	read   int64 // end of the last window that was read
	heard  []int64
	player int64 // when the player was last heard of
	anchor int64 // of the player's seconds
	held   []float32

	reportTally *telemetry.Tally // by the 3S values of a report
	sampleTally *telemetry.Tally // by PlayerFields
	riseTally   *telemetry.Tally // of the counter's rise

	clocks      []clock // by switch
	paces       []Pacer // likewise
	playerClock clock
	nodes       map[nodeID]*sequence
	seen        replays // payloads
	stamps      replays // of samples
	fresh       bool    // the report being read has a number that is new
	stats       Stats
}

const never = math.MinInt64

// New makes a collector. An error names the field of cfg.
func New(cfg Config) (*Collector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d, err := intreport.NewDecoder(cfg.Decode)
	if err != nil {
		return nil, err
	}
	var probe []telemetry.Field
	for n := range cfg.Switches {
		for _, stem := range []string{"enq_qdepth", "deq_timedelta", "deq_qdepth"} {
			f, _ := telemetry.Canonical(stem + strconv.Itoa(n+1))
			probe = append(probe, f)
		}
	}
	second, err := telemetry.NewSecond(probe, cfg.Aggregate)
	if err != nil {
		return nil, err
	}
	c := &Collector{
		cfg: cfg, columns: second.Fields(), second: second, decoder: d, base: time.Now(),
		times: make([]int64, cfg.Reports), values: make([]float64, cfg.Reports*len(probe)), valid: make([]bool, cfg.Reports*len(probe)),
		samples: make([]sample, 0, maxSamples), read: never, player: never, anchor: never,
		clocks: make([]clock, len(cfg.Switches)), paces: make([]Pacer, len(cfg.Switches)), nodes: map[nodeID]*sequence{},
	}
	c.hops = len(c.columns)
	rise, _ := telemetry.Canonical("calc_rate")
	c.reportTally, c.sampleTally, c.riseTally = telemetry.NewTally(probe), telemetry.NewTally(PlayerFields()), telemetry.NewTally([]telemetry.Field{rise})
	for i, name := range playerNames {
		if i == counter {
			name = "calc_rate"
		}
		if i == stall && !cfg.Stalls {
			continue
		}
		f, _ := telemetry.Canonical(name)
		c.columns = append(c.columns, f)
	}
	for range cfg.Switches {
		c.heard = append(c.heard, never)
	}
	c.held = make([]float32, len(c.columns))
	c.each = c.report
	return c, nil
}

// Columns are those of a window: of each switch the depth of its queue and the
// time in it as Aggregate says, then the player's.
//
// A report that has no time in the queue, as those of INT, is taken by its
// latency from ingress to egress; INT has no depth at dequeue either.
func (c *Collector) Columns() []telemetry.Field { return slices.Clone(c.columns) }

// Frame takes an Ethernet frame that came at a time: a probe, or a telemetry
// report. A P4Runtime client's packets are fed like this:
//
//	for p := range client.Packets() {
//		collector.Frame(time.Now(), p.Payload)
//	}
func (c *Collector) Frame(at time.Time, b []byte) {
	c.take(at, b, (*intreport.Decoder).Frame)
}

// Datagram takes a telemetry report, the payload of a UDP datagram that came
// at a time.
func (c *Collector) Datagram(at time.Time, b []byte) {
	c.take(at, b, (*intreport.Decoder).Report)
}

func (c *Collector) take(at time.Time, b []byte, decode func(*intreport.Decoder, []byte, func(*intreport.Report)) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = int64(at.Sub(c.base))
	c.stats.Packets++
	if c.seen.again(maphash.Bytes(seed, b)) {
		c.stats.Replayed++
		return
	}
	switch err := decode(c.decoder, b, c.each); {
	case err == nil:
	case errors.Is(err, intreport.ErrForeign):
		c.stats.Foreign++
	default:
		c.stats.Malformed++
		c.stats.LastError = err.Error()
	}
}

// Report takes a report that came at a time.
func (c *Collector) Report(at time.Time, r *intreport.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = int64(at.Sub(c.base))
	c.report(r)
}

// report keeps a report that came at c.at.
func (c *Collector) report(r *intreport.Report) {
	c.stats.Reports++
	if r.Part == 0 {
		c.fresh = r.SeqBits == 0 || c.follow(r)
	}
	// It was measured when the packet left the last switch, by its clock.
	at, ours := c.at, false
	for i := range r.Hops {
		h := &r.Hops[i]
		n := c.index(h)
		switch {
		case n < 0:
			c.stats.Unknown++
		case n == elsewhere:
			c.stats.Elsewhere++
		}
		if n < 0 || n == elsewhere {
			continue
		}
		ours = true
		if h.Has&intreport.HasEgressTime != 0 {
			c.paces[n].Add(c.at, h.EgressTime, h.Wrap)
			at = c.clocks[n].align(c.at, h.EgressTime, h.Wrap)
		}
	}
	if !ours {
		return
	}
	if at < c.read {
		c.stats.Late++
	}
	k := c.next
	if c.kept == len(c.times) && c.times[k] >= c.read {
		c.stats.Dropped++
	}
	width := 3 * len(c.cfg.Switches)
	c.times[k] = at
	values, valid := c.values[k*width:][:width], c.valid[k*width:][:width]
	clear(valid)
	for i := range r.Hops {
		h := &r.Hops[i]
		n := c.index(h)
		if n < 0 || n == elsewhere {
			continue
		}
		measured, known := h.Queueing()
		for k := range measured {
			known[k] = known[k] && c.reportTally.Take(3*n+k, measured[k], "report", int(c.stats.Reports))
		}
		copy(values[3*n:], measured[:])
		copy(valid[3*n:], known[:])
		// How old telemetry is our own clock says: a switch's may be set.
		if c.fresh && (known[0] || known[1]) {
			c.heard[n] = max(c.heard[n], c.at)
		}
	}
	c.next = (k + 1) % len(c.times)
	c.kept = min(c.kept+1, len(c.times))
	if c.cfg.Tap != nil && c.cfg.Tap.Report != nil {
		c.cfg.Tap.Report(c.base.Add(time.Duration(at)), values, valid)
	}
}

const elsewhere = maxSwitches // the index of a queue that is not meant

// index is the index of the hop's switch: -1 where it is not one of ours.
func (c *Collector) index(h *intreport.Hop) int {
	if h.Has&intreport.HasSwitch == 0 {
		return -1
	}
	n := slices.Index(c.cfg.Switches, h.Switch)
	if n >= 0 && c.cfg.Ports != nil && h.Has&intreport.HasPorts != 0 && h.Egress != c.cfg.Ports[n] {
		return elsewhere
	}
	return n
}

// Age is how old the newest values are at the end of a window; Never where
// there are none.
type Age struct {
	Switches []time.Duration // by switch
	Player   time.Duration
}

// Never is the age of what was never heard of.
const Never = time.Duration(math.MaxInt64)

// Oldest is the largest of the ages.
func (a Age) Oldest() time.Duration { return max(a.Player, slices.Max(a.Switches)) }

// Window waits until the seconds that begin at start are over and settled, and
// fills values and valid [T,F], T seconds from start, with what was measured
// in them. Where nothing was, the value is the last one that a window gave, 0
// before the first, and valid is false. It tells how old the newest values
// are. An error is the context's, or a length that does not fit.
func (c *Collector) Window(ctx context.Context, start time.Time, values []float32, valid []bool) (Age, error) {
	f := len(c.columns)
	seconds := len(values) / f
	if seconds == 0 || len(values) != seconds*f || len(valid) != len(values) {
		return Age{}, fmt.Errorf("live: window: %d values and %d flags for %d columns", len(values), len(valid), f)
	}
	end := start.Add(time.Duration(seconds) * c.cfg.Second)
	if err := wait.For(ctx, time.Until(end.Add(c.cfg.Settle))); err != nil {
		return Age{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	from := int64(start.Sub(c.base))
	clear(valid)
	for t := range seconds {
		c.fill(from+int64(t)*int64(c.cfg.Second), values[t*f:][:f], valid[t*f:][:f])
	}
	to := from + int64(seconds)*int64(c.cfg.Second)
	c.read = max(c.read, to)
	age := Age{Player: since64(c.player, to)}
	for _, h := range c.heard {
		age.Switches = append(age.Switches, since64(h, to))
	}
	return age, nil
}

// fill fills the second that begins at from.
func (c *Collector) fill(from int64, values []float32, valid []bool) {
	to := from + int64(c.cfg.Second)
	width := 3 * len(c.cfg.Switches)
	c.second.Reset()
	met := false
	for i := range c.kept {
		k := (c.next - c.kept + i + len(c.times)) % len(c.times)
		if c.times[k] >= from && c.times[k] < to {
			c.second.Add(c.values[k*width:][:width], c.valid[k*width:][:width])
			met = true
		}
	}
	for i := range c.hops {
		if v, ok := c.second.Value(i); ok && met {
			values[i], valid[i] = float32(v), true
		}
	}
	c.fillPlayer(from, to, values[c.hops:], valid[c.hops:])
	for i := range values {
		if valid[i] {
			c.held[i] = values[i]
		} else {
			values[i] = c.held[i]
		}
	}
}

// fillPlayer fills in the last sample of the second, with the stalls of all its
// samples and the counter's rise, by second, since the last one that had it.
func (c *Collector) fillPlayer(from, to int64, values []float32, valid []bool) {
	var last, before *sample
	stalled := 0.
	for i := range c.samples {
		s := &c.samples[(c.newest+1+i)%len(c.samples)]
		switch {
		case s.at < from && s.valid[counter]:
			before = s
		case s.at >= from && s.at < to:
			last = s
			stalled = min(stalled+s.values[stall], 1)
		}
	}
	if last == nil {
		return
	}
	for i := range values {
		v, ok := last.values[i], last.valid[i]
		switch {
		case i == stall:
			v = stalled
		case i == counter && ok:
			v, ok = c.rise(before, last)
		}
		if ok {
			values[i], valid[i] = float32(v), true
		}
	}
}

// rise is the counter's rise from one sample to another, by second; false where
// the player began anew between them, or where there is no first one: a counter
// that is 0 has not risen.
func (c *Collector) rise(before, last *sample) (float64, bool) {
	v := last.values[counter]
	if before == nil {
		return 0, v == 0
	}
	second := int64(c.cfg.Second)
	v -= before.values[counter]
	v /= float64(max((last.at-before.at+second/2)/second, 1))
	return v, v >= 0 && c.riseTally.Take(0, v, "player", int(c.stats.Samples))
}

// keep keeps a sample of the player, measured at a time of our clock. It
// belongs to the second of the player's own that is nearest, counted from its
// first sample, so that jitter neither doubles nor skips one.
func (c *Collector) keep(at int64, s sample) {
	c.stats.Samples++
	for i := range s.values {
		if s.valid[i] && !c.sampleTally.Take(i, s.values[i], "player", int(c.stats.Samples)) {
			s.values[i], s.valid[i] = 0, false
		}
	}
	if c.anchor == never {
		c.anchor = at
	}
	c.player = max(c.player, c.at)
	if c.cfg.Tap != nil && c.cfg.Tap.Sample != nil {
		c.cfg.Tap.Sample(c.base.Add(time.Duration(at)), s.values[:], s.valid[:])
	}
	second := int64(c.cfg.Second)
	s.at = c.anchor + (at - c.anchor + second/2 - mod(at-c.anchor+second/2, second))
	if s.at < c.read {
		c.stats.Late++
	}
	if len(c.samples) < cap(c.samples) {
		c.newest = len(c.samples)
		c.samples = append(c.samples, s)
		return
	}
	c.newest = (c.newest + 1) % len(c.samples)
	if c.samples[c.newest].at >= c.read {
		c.stats.Dropped++
	}
	c.samples[c.newest] = s
}

var seed = maphash.MakeSeed()

// replays knows the last 4,096 of what came.
type replays struct {
	ring [4096]uint64
	next int
	set  map[uint64]bool
}

// again says whether x is among them, and takes it in.
func (r *replays) again(x uint64) bool {
	if r.set == nil {
		r.set = make(map[uint64]bool, len(r.ring))
	}
	if r.set[x] {
		return true
	}
	if len(r.set) == len(r.ring) {
		delete(r.set, r.ring[r.next])
	}
	r.ring[r.next], r.set[x] = x, true
	r.next = (r.next + 1) % len(r.ring)
	return false
}

// mod is a modulo b, not negative.
func mod(a, b int64) int64 { return (a%b + b) % b }

// since64 is how long before to something was heard; 0 if after.
func since64(heard, to int64) time.Duration {
	if heard == never {
		return Never
	}
	return time.Duration(max(to-heard, 0))
}
