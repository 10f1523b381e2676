package testbed

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc64"
	"math"
	"slices"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/traffic"
)

// Config is a testbed as data. Zero values are the defaults in the comments;
// the zero Config is the tutorial's line of three switches with a player, the
// reverse path, and WAVE's sinusoid of web-like clients.
type Config struct {
	HorizonS int     `toml:"horizon_s"`  // an episode is truncated there, warm-up not counted; 0: never
	WarmupS  *int    `toml:"warmup_s"`   // seconds before the first window; 30
	MinRTOMS float64 `toml:"min_rto_ms"` // 200, as Linux; RFC 6298 asks for 1000
	Ports    []Port  `toml:"port"`       // in any order; paths name them
	Video    Video   `toml:"video"`      // the measured player
	Probe    Probe   `toml:"probe"`      // the INT probes, which travel the video's path
	Phases   []Phase `toml:"phase"`      // take turns; loads may belong to one
	Loads    []Load  `toml:"load"`       // sessions that share the switches with the player
}

// Port is an egress port and the wire behind it.
type Port struct {
	Name      string   `toml:"name"`       // of the port; paths name it
	Switch    int      `toml:"switch"`     // 1…: the action sets its limit; 0: Limit holds
	PPS       float64  `toml:"pps"`        // packets/s served; 0: bps alone bounds
	BPS       float64  `toml:"bps"`        // bit/s of the wire; 0: pps alone bounds
	Service   string   `toml:"service"`    // "fixed" (default) or "exponential" gaps between packets
	Limit     p4.Limit `toml:"limit"`      // packets, where Switch is 0
	DelayMS   float64  `toml:"delay_ms"`   // of the wire; 0
	JitterMS  float64  `toml:"jitter_ms"`  // uniform on top, order kept; 0
	Loss      float64  `toml:"loss"`       // probability per packet on the wire; 0
	WakeUS    float64  `toml:"wake_us"`    // what BMv2's thread adds to deq_timedelta, median; 0: exact
	WakeSigma float64  `toml:"wake_sigma"` // of its logarithm
	LateUS    float64  `toml:"late_us"`    // by which BMv2's thread oversleeps a release, median; 0: never
	LateSigma float64  `toml:"late_sigma"` // of its logarithm
	AQM       AQM      `toml:"aqm"`        // queue management within the limit
}

// AQM is a port's queue management, within its limit.
type AQM struct {
	Name       string  `toml:"name"`        // "" drop-tail, "codel", "pi2", "red"
	TargetMS   float64 `toml:"target_ms"`   // codel 5, pi2 15
	IntervalMS float64 `toml:"interval_ms"` // codel 100
	Low        float64 `toml:"low"`         // red: packets; 5
	High       float64 `toml:"high"`        // red: packets; 15
	MaxP       float64 `toml:"max_p"`       // red: at High; 0.1
	Weight     float64 `toml:"weight"`      // red: of the average; 0.002
}

// Flow is how a TCP connection runs.
type Flow struct {
	Path     []string   `toml:"path"`      // ports of its data; the video's
	Back     []string   `toml:"back"`      // ports of its acknowledgements; the video's; ["-"]: none
	RTTMS    [2]float64 `toml:"rtt_ms"`    // round trip through empty queues, drawn uniformly per session; {10, 10}
	JitterMS float64    `toml:"jitter_ms"` // of acknowledgements, uniform, order kept; 0
	CC       string     `toml:"cc"`        // "cubic" (default) or "reno"
	NoSACK   bool       `toml:"no_sack"`   // run without selective acknowledgements; false
	Window   int        `toml:"window"`    // the receiver's, segments; 512

	path, back uint8
}

// Level is one quality of a video.
type Level struct {
	Kbps   float64 `toml:"kbps"`   // kbit/s
	FPS    int     `toml:"fps"`    // frames/s
	Width  int     `toml:"width"`  // pixels
	Height int     `toml:"height"` // pixels
}

// Video is the measured player, or one of a load's.
type Video struct {
	Flow
	Ladder        []Level `toml:"ladder"`          // ascending; the recordings' three
	ABR           string  `toml:"abr"`             // "dynamic" (default), "throughput", "bola"
	SegmentS      float64 `toml:"segment_s"`       // 4
	StableBufferS float64 `toml:"stable_buffer_s"` // 12
	TopBufferS    float64 `toml:"top_buffer_s"`    // 60, at the top quality
	SizeCV        float64 `toml:"size_cv"`         // of segment sizes, log-normal; 0: all alike
	NoAbandon     bool    `toml:"no_abandon"`      // keep slow transfers
	DecodedScale  float64 `toml:"decoded_scale"`   // calc_rate per kB played; 1.57, as recorded
}

// Probe is the INT probes, which travel the video's path.
type Probe struct {
	PerSecond float64 `toml:"per_second"` // 6.2
	Bytes     int     `toml:"bytes"`      // 138
	Aggregate string  `toml:"aggregate"`  // of a second: "max-timedelta1" (default, as published), "mean", "last"
}

// Phase is a stretch of time.
type Phase struct {
	Name   string  `toml:"name"`   // loads name it
	MeanS  float64 `toml:"mean_s"` // mean length, seconds
	Spread float64 `toml:"spread"` // lengths are uniform within ± this share of the mean
}

// Load is a group of sessions that share the switches with the player.
type Load struct {
	Name    string  `toml:"name"`    // of the load, in messages
	Kind    string  `toml:"kind"`    // "tcp", "udp", "video" or "sessions"
	Phase   string  `toml:"phase"`   // "": always
	Pattern Pattern `toml:"pattern"` // how many sessions are on
	Flow            // tcp and video, and udp's Path

	ObjectKB    float64 `toml:"object_kb"`    // tcp: mean size of an object; 0: one without end
	ObjectShape float64 `toml:"object_shape"` // 0 constant, 1 exponential, above 1 Pareto with that shape
	ThinkS      float64 `toml:"think_s"`      // tcp: mean pause between objects, exponential

	Arrivals  Arrivals `toml:"arrivals"`   // udp: "constant" (default), "poisson", "onoff"; sessions: how many a second, or "recorded" (default, from a random moment on) or "start" (from the first on) for their own times
	PPS       float64  `toml:"pps"`        // udp: packets/s; of "onoff" while on
	Bytes     int      `toml:"bytes"`      // udp: 1500
	OnMS      float64  `toml:"on_ms"`      // onoff: length of a burst
	OffMS     float64  `toml:"off_ms"`     // onoff: pause between bursts
	RandomOff bool     `toml:"random_off"` // exponential pauses of mean OffMS

	Model    string   `toml:"model"`            // sessions: what they are drawn of, a .safetensors file, "bundled" (learned; other sessions on other processors), "bundled-pool" (sessions of it, the same everywhere) or "bundled-ngram"
	File     string   `toml:"file" path:"file"` // sessions: or a Parquet file of them
	Labels   []string `toml:"labels"`           // sessions: those with these labels alone; all
	MaxSteps int      `toml:"max_steps"`        // sessions: packets of one, those after it are left out; all
	Pool     int      `toml:"pool"`             // sessions: how many are drawn of a model before any run, for arrivals to draw from; 2048
	Reactive *bool    `toml:"reactive"`         // sessions: TCP ones send messages over the testbed's TCP; false: every packet at its own time; true
	Speed    float64  `toml:"speed"`            // sessions: their times are divided by it; 1
	// Sessions gives what Model or File names. Who loads a scenario sets it.
	Sessions func() *traffic.Set `toml:"-" json:"-"`

	Player Video `toml:"player"` // video: what its players are; Flow of the load
}

// Pattern is how many sessions of a load are on.
type Pattern struct {
	Kind        string    `toml:"kind"`         // "constant" (default), "sinusoid", "flash", "step", "walk", "series", "sessions"
	N           float64   `toml:"n"`            // sessions; where the others begin
	Amplitude   float64   `toml:"amplitude"`    // sinusoid; walk: standard deviation of a step
	PeriodS     float64   `toml:"period_s"`     // sinusoid: WAVE's P in seconds
	Shock       float64   `toml:"shock"`        // flash: WAVE's S; the top is S·N
	Decay       float64   `toml:"decay"`        // flash: WAVE's n
	AtS         float64   `toml:"at_s"`         // flash and step: when it begins
	To          float64   `toml:"to"`           // step
	Min         float64   `toml:"min"`          // walk: reflected there
	Max         float64   `toml:"max"`          // walk; sessions: as many at once
	EveryS      float64   `toml:"every_s"`      // series: seconds per value; walk: per step; 1
	Series      []float64 `toml:"series"`       // repeated
	PerSecond   float64   `toml:"per_second"`   // sessions: Poisson arrivals
	StayS       float64   `toml:"stay_s"`       // sessions: mean stay, exponential
	RandomStart bool      `toml:"random_start"` // begin at a random moment of the pattern
}

// DefaultPorts is the tutorial's line of three switches and the way back.
func DefaultPorts() []Port {
	var p []Port
	for n, pps := range []float64{2500, 6000, 6000} {
		p = append(p, Port{Name: fmt.Sprintf("s%d", n+1), Switch: n + 1, PPS: pps, DelayMS: .5, WakeUS: 55, WakeSigma: .33})
	}
	for n, pps := range []float64{2500, 6000, 6000} {
		p = append(p, Port{Name: fmt.Sprintf("r%d", n+1), Limit: 64, PPS: pps, DelayMS: .5})
	}
	return p
}

// DefaultLadder is the recordings' three qualities.
func DefaultLadder() []Level {
	return []Level{{639, 18, 426, 240}, {1867, 24, 854, 480}, {3312, 30, 1280, 720}}
}

// DefaultLoads is WAVE's sinusoid, a client being one that fetches objects of
// half a megabyte with two seconds between.
func DefaultLoads() []Load {
	return []Load{{
		Name: "wave", Kind: "tcp", ObjectKB: 500, ObjectShape: 1.5, ThinkS: 2, Flow: Flow{RTTMS: [2]float64{8, 20}},
		Pattern: Pattern{Kind: "sinusoid", N: 6, Amplitude: 3, PeriodS: 300, RandomStart: true},
	}}
}

// Warmup is the time before the first window, in seconds.
func (c Config) Warmup() float64 {
	if c.WarmupS == nil {
		return 30
	}
	return float64(*c.WarmupS)
}

// PacketsPerSecond bounds the packets that c makes a second of emulated time
// handle: what every port can serve, what UDP loads offer, and the probes. It is
// an estimate of cost, and ignores that TCP fills no port it does not pass.
func (c Config) PacketsPerSecond() float64 {
	ports, sum := c.Ports, c.Probe.PerSecond
	if ports == nil {
		ports = DefaultPorts()
	}
	for _, q := range ports {
		sum += q.rate()
	}
	for _, l := range c.Loads {
		if l.Kind == "udp" {
			sum += l.PPS * float64(l.Pattern.slots())
		}
		if l.Kind == "sessions" {
			sum += l.PacketsPerSecond()
		}
	}
	return sum
}

// rate is the packets/s that the port serves, full-sized ones where bits bound
// it; +Inf without a bound.
func (q Port) rate() float64 {
	r := math.Inf(1)
	if q.PPS > 0 {
		r = q.PPS
	}
	if q.BPS > 0 {
		r = min(r, q.BPS/(8*segmentBytes))
	}
	return r
}

// Check reports the first thing wrong with c, naming the key.
func (c Config) Check() error {
	_, err := c.compile()
	return err
}

func fault(key string, format string, args ...any) error {
	return fmt.Errorf("testbed: %s: %s", key, fmt.Sprintf(format, args...))
}

// Ranges shared by the checks: a value outside is refused, NaN too.
func within(key string, x, low, high float64) error {
	if !(x >= low && x <= high) {
		return fault(key, "%v is outside %v…%v", x, low, high)
	}
	return nil
}

func oneOf(key, x string, names ...string) error {
	if x == "" || slices.Contains(names, x) {
		return nil
	}
	return fault(key, "%q is not one of %q", x, names)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	maxRate  = 1e9
	maxDelay = 60e3 // ms
	maxFlows = 8000
)

// compile fills c's zero values and works out what runs share.
func (c Config) compile() (*plan, error) {
	p := &plan{}
	warmup := 30
	if c.WarmupS != nil {
		warmup = *c.WarmupS
	}
	c.WarmupS = &warmup
	if c.MinRTOMS == 0 {
		c.MinRTOMS = 200
	}
	if err := first(
		within("horizon_s", float64(c.HorizonS), 0, 1e5),
		within("warmup_s", float64(warmup), 0, 1e5),
		within("min_rto_ms", c.MinRTOMS, 1, 60e3)); err != nil {
		return nil, err
	}
	if c.Ports == nil {
		c.Ports = DefaultPorts()
	}
	if c.Loads == nil {
		c.Loads = DefaultLoads()
	}
	c.Ports, c.Loads = slices.Clone(c.Ports), slices.Clone(c.Loads)
	for i := range c.Ports {
		if err := c.Ports[i].complete(fmt.Sprintf("port[%d]", i), c.Ports[:i]); err != nil {
			return nil, err
		}
		p.switchOf = append(p.switchOf, c.Ports[i].Switch)
		p.switches = max(p.switches, c.Ports[i].Switch)
	}
	if p.switches < 1 || p.switches > maxHops {
		return nil, fault("port", "switches are numbered 1…%d, one at least; the highest here is %d", maxHops, p.switches)
	}
	p.minRTO = ms(c.MinRTOMS)
	p.route, p.pathDelay = [][]int8{{-1}}, []int64{0} // path 0 meets no port
	if c.Video.Path == nil {
		c.Video.Path = []string{"s1", "s2", "s3"}
	}
	if c.Video.Back == nil {
		c.Video.Back = []string{"-"}
		if slices.ContainsFunc(c.Ports, func(p Port) bool { return p.Name == "r1" }) {
			c.Video.Back = []string{"r3", "r2", "r1"}
		}
	}
	if err := first(c.Video.complete("video", &c, p), c.Probe.complete()); err != nil {
		return nil, err
	}
	p.hopOf = make([]int8, p.switches)
	for n := range p.hopOf {
		p.hopOf[n] = -1
		for h, port := range p.route[c.Video.path] {
			if port >= 0 && p.switchOf[port] == n+1 {
				p.hopOf[n] = int8(h)
			}
		}
		if p.hopOf[n] < 0 {
			return nil, fault("video.path", "%v passes no port of switch %d, so nothing would measure it", c.Video.Path, n+1)
		}
	}
	p.video = append(p.video, newVideoPlan(c.Video))
	flows, sources := 1, 0
	p.libraries = make([]*library, len(c.Loads))
	for i := range c.Phases {
		f := &c.Phases[i]
		key := fmt.Sprintf("phase[%d]", i)
		if f.Name == "" || slices.ContainsFunc(c.Phases[:i], func(o Phase) bool { return o.Name == f.Name }) {
			return nil, fault(key+".name", "%q is empty or a duplicate", f.Name)
		}
		if err := first(within(key+".mean_s", f.MeanS, 1, 1e5), within(key+".spread", f.Spread, 0, .99)); err != nil {
			return nil, err
		}
	}
	for i := range c.Loads {
		l := &c.Loads[i]
		if err := l.complete(fmt.Sprintf("load[%d]", i), &c, p); err != nil {
			return nil, err
		}
		switch l.Kind {
		case "sessions":
			n := int(l.Pattern.Max)
			flows, sources = flows+n, sources+n
			if l.Sessions == nil {
				break
			}
			lib, err := l.compileSessions(fmt.Sprintf("load[%d]", i))
			if err != nil {
				return nil, err
			}
			p.libraries[i] = lib
		case "udp":
			sources += l.Pattern.slots()
		case "video":
			p.video = append(p.video, newVideoPlan(l.Player))
			fallthrough
		case "tcp":
			flows += l.Pattern.slots()
		}
	}
	if flows+sources > maxFlows {
		return nil, fault("load", "%d sessions at once are more than %d", flows+sources, maxFlows)
	}
	n := len(c.Ports)
	p.firstCodel, p.firstFlow = n, n
	if slices.ContainsFunc(c.Ports, func(p Port) bool { return p.AQM.Name == "codel" }) {
		p.firstFlow = 2 * n
	}
	p.firstUDP = p.firstFlow + 2*flows
	p.probeAt = p.firstUDP + sources
	p.entries = p.probeAt + 1
	p.cfg = c
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("testbed: %w", err)
	}
	for _, l := range p.libraries {
		if l != nil {
			text = binary.LittleEndian.AppendUint64(text, l.hash)
		}
	}
	p.hash = crc64.Checksum(text, crcTable)
	return p, nil
}

func (q *Port) complete(key string, before []Port) error {
	if q.Name == "" || q.Name == "-" || slices.ContainsFunc(before, func(o Port) bool { return o.Name == q.Name }) {
		return fault(key+".name", "%q is empty, \"-\" or a duplicate", q.Name)
	}
	if len(before) >= 100 {
		return fault(key, "there are more than 100 ports")
	}
	if q.LateUS > 0 && q.AQM.Name == "codel" {
		return fault(key+".late_us", "%v: codel decides at the moment of release and cannot oversleep it", q.LateUS)
	}
	switch {
	case q.Switch == 0:
		if err := q.Limit.Check(); err != nil {
			return fault(key+".limit", "%v", err)
		}
	case q.Limit != 0:
		return fault(key+".limit", "%d: the action sets the limits of switch %d", q.Limit, q.Switch)
	}
	if q.PPS == 0 && (q.BPS == 0 || q.Service == "exponential") {
		return fault(key+".pps", "a port without a rate never queues: give pps or bps, pps where service is exponential")
	}
	if q.PPS != 0 {
		if err := within(key+".pps", q.PPS, 1e-3, maxRate); err != nil {
			return err
		}
	}
	if q.BPS != 0 {
		if err := within(key+".bps", q.BPS, 1, 1e15); err != nil {
			return err
		}
	}
	return first(
		within(key+".switch", float64(q.Switch), 0, maxHops),
		oneOf(key+".service", q.Service, "fixed", "exponential"),
		within(key+".delay_ms", q.DelayMS, 0, maxDelay),
		within(key+".jitter_ms", q.JitterMS, 0, maxDelay),
		within(key+".loss", q.Loss, 0, 1),
		within(key+".wake_us", q.WakeUS, 0, 1e6),
		within(key+".wake_sigma", q.WakeSigma, 0, 3),
		within(key+".late_us", q.LateUS, 0, 1e6),
		within(key+".late_sigma", q.LateSigma, 0, 3),
		q.AQM.complete(key+".aqm"),
	)
}

func (a *AQM) complete(key string) error {
	set := func(x *float64, d float64) {
		if *x == 0 {
			*x = d
		}
	}
	if a.Name == "pi2" {
		set(&a.TargetMS, 15)
	}
	set(&a.TargetMS, 5)
	set(&a.IntervalMS, 100)
	set(&a.Low, 5)
	set(&a.High, 15)
	set(&a.MaxP, .1)
	set(&a.Weight, .002)
	return first(
		oneOf(key+".name", a.Name, "codel", "pi2", "red"),
		within(key+".target_ms", a.TargetMS, 1e-3, maxDelay),
		within(key+".interval_ms", a.IntervalMS, 1e-3, maxDelay),
		within(key+".low", a.Low, 0, 1e6),
		within(key+".high", a.High, math.Nextafter(a.Low, math.Inf(1)), 1e6),
		within(key+".max_p", a.MaxP, 1e-9, 1),
		within(key+".weight", a.Weight, 1e-9, 1))
}

// state is an empty queue's.
func (a AQM) state() aqm {
	k := map[string]aqmKind{"": dropTail, "codel": codel, "pi2": pi2, "red": red}[a.Name]
	return aqm{kind: k, target: ms(a.TargetMS), interval: ms(a.IntervalMS), low: a.Low, high: a.High, maxP: a.MaxP, weight: a.Weight}
}

// resolve is the number of a path, -1 closing its route.
func (p *plan) resolve(key string, names []string, c *Config) (uint8, error) {
	if len(names) == 1 && names[0] == "-" {
		return 0, nil
	}
	if len(names) == 0 || len(names) > maxHops {
		return 0, fault(key, "%d ports; a path has 1…%d", len(names), maxHops)
	}
	var route []int8
	var delay int64
	for _, n := range names {
		i := slices.IndexFunc(c.Ports, func(q Port) bool { return q.Name == n })
		if i < 0 {
			return 0, fault(key, "there is no port %q", n)
		}
		if slices.Contains(route, int8(i)) {
			return 0, fault(key, "passes %q twice", n)
		}
		route = append(route, int8(i))
		delay += ms(c.Ports[i].DelayMS)
		if b := c.Ports[i].BPS; b > 0 {
			delay += int64(segmentBytes * 8e9 / b)
		}
	}
	route = append(route, -1)
	for k, r := range p.route {
		if slices.Equal(r, route) {
			return uint8(k), nil
		}
	}
	if len(p.route) == 256 {
		return 0, fault(key, "there are more than 255 paths")
	}
	p.route, p.pathDelay = append(p.route, route), append(p.pathDelay, delay)
	return uint8(len(p.route) - 1), nil
}

func (f *Flow) complete(key string, c *Config, p *plan) (err error) {
	if f.Path == nil {
		f.Path = c.Video.Path
	}
	if f.Back == nil {
		f.Back = c.Video.Back
	}
	if f.RTTMS == [2]float64{} {
		f.RTTMS = [2]float64{10, 10}
	}
	if f.Window == 0 {
		f.Window = 512
	}
	if f.CC == "" {
		f.CC = "cubic"
	}
	if f.path, err = p.resolve(key+".path", f.Path, c); err != nil {
		return err
	}
	if f.path == 0 {
		return fault(key+".path", "data passes one port at least")
	}
	if f.back, err = p.resolve(key+".back", f.Back, c); err != nil {
		return err
	}
	least := float64(p.pathDelay[f.path]+p.pathDelay[f.back]) / 1e6
	return first(
		within(key+".rtt_ms[0]", f.RTTMS[0], least, maxDelay),
		within(key+".rtt_ms[1]", f.RTTMS[1], f.RTTMS[0], maxDelay),
		within(key+".jitter_ms", f.JitterMS, 0, maxDelay),
		oneOf(key+".cc", f.CC, "cubic", "reno"),
		within(key+".window", float64(f.Window), 2, 1<<16))
}

func (v *Video) complete(key string, c *Config, p *plan) error {
	set := func(x *float64, d float64) {
		if *x == 0 {
			*x = d
		}
	}
	if v.Ladder == nil {
		v.Ladder = DefaultLadder()
	}
	if v.ABR == "" {
		v.ABR = "dynamic"
	}
	set(&v.SegmentS, 4)
	set(&v.StableBufferS, 12)
	set(&v.TopBufferS, max(60, v.StableBufferS))
	set(&v.DecodedScale, 1.57)
	if len(v.Ladder) == 0 {
		return fault(key+".ladder", "has no level")
	}
	for i, l := range v.Ladder {
		low := 1.0
		if i > 0 {
			low = math.Nextafter(v.Ladder[i-1].Kbps, math.Inf(1))
		}
		if err := first(
			within(fmt.Sprintf("%s.ladder[%d].kbps", key, i), l.Kbps, low, 1e6),
			within(fmt.Sprintf("%s.ladder[%d].fps", key, i), float64(l.FPS), 1, 1000)); err != nil {
			return err
		}
	}
	return first(
		v.Flow.complete(key, c, p),
		oneOf(key+".abr", v.ABR, "dynamic", "throughput", "bola"),
		within(key+".segment_s", v.SegmentS, .1, 60),
		within(key+".stable_buffer_s", v.StableBufferS, v.SegmentS, 25*v.SegmentS),
		within(key+".top_buffer_s", v.TopBufferS, v.StableBufferS, 28*v.SegmentS),
		within(key+".size_cv", v.SizeCV, 0, 2),
		within(key+".decoded_scale", v.DecodedScale, 0, 1e3))
}

func (b *Probe) complete() error {
	if b.PerSecond == 0 {
		b.PerSecond = 6.2
	}
	if b.Bytes == 0 {
		b.Bytes = 138
	}
	return first(
		within("probe.per_second", b.PerSecond, .01, 1e5),
		within("probe.bytes", float64(b.Bytes), 64, 9000),
		oneOf("probe.aggregate", b.Aggregate, "max-timedelta1", "mean", "last"))
}

func (l *Load) complete(key string, c *Config, p *plan) error {
	if l.Kind == "" {
		return fault(key+".kind", `is missing: give "tcp", "udp", "video" or "sessions"`)
	}
	if l.Phase != "" && !slices.ContainsFunc(c.Phases, func(f Phase) bool { return f.Name == l.Phase }) {
		return fault(key+".phase", "there is no phase %q", l.Phase)
	}
	if err := first(
		oneOf(key+".kind", l.Kind, "tcp", "udp", "video", "sessions"),
		l.Flow.complete(key, c, p),
		l.Pattern.complete(key+".pattern", c)); err != nil {
		return err
	}
	switch l.Kind {
	case "tcp":
		if l.ObjectShape != 0 && l.ObjectShape < 1 {
			return fault(key+".object_shape", "%v is neither 0 nor at least 1", l.ObjectShape)
		}
		return first(
			within(key+".object_kb", l.ObjectKB, 0, 1e9),
			within(key+".object_shape", l.ObjectShape, 0, 10),
			within(key+".think_s", l.ThinkS, 0, 1e5))
	case "sessions":
		return l.completeSessions(key, p)
	case "video":
		if l.Player.Path != nil || l.Player.Back != nil || l.Player.RTTMS != [2]float64{} || l.Player.CC != "" {
			return fault(key+".player", "its connections are the load's: set path, back, rtt_ms and cc there")
		}
		l.Player.Flow = l.Flow
		return l.Player.complete(key+".player", c, p)
	}
	if l.Bytes == 0 {
		l.Bytes = segmentBytes
	}
	if err := first(
		oneOf(key+".arrivals", string(l.Arrivals), "constant", "poisson", "onoff"),
		within(key+".pps", l.PPS, 1e-3, maxRate),
		within(key+".bytes", float64(l.Bytes), 64, 9000)); err != nil {
		return err
	}
	if l.Arrivals != "onoff" {
		return nil
	}
	return first(
		within(key+".on_ms", l.OnMS, 500/l.PPS, 1e7),
		within(key+".off_ms", l.OffMS, 0, 1e7))
}

func (p *Pattern) complete(key string, c *Config) error {
	if p.EveryS == 0 {
		p.EveryS = 1
	}
	if err := first(
		oneOf(key+".kind", p.Kind, "constant", "sinusoid", "flash", "step", "walk", "series", "sessions"),
		within(key+".n", p.N, 0, maxFlows),
		within(key+".every_s", p.EveryS, 1, 1e5)); err != nil {
		return err
	}
	horizon := math.Inf(1)
	if c.HorizonS > 0 {
		horizon = float64(c.HorizonS + *c.WarmupS)
	}
	switch p.Kind {
	case "sinusoid":
		return first(
			within(key+".amplitude", p.Amplitude, -p.N, p.N),
			within(key+".period_s", p.PeriodS, 1, 1e6))
	case "flash":
		if p.AtS >= horizon {
			return fault(key+".at_s", "%v s is past the horizon of %v s", p.AtS, horizon)
		}
		return first(
			within(key+".shock", p.Shock, 1, 1e3),
			within(key+".decay", p.Decay, 1e-3, 1e3),
			within(key+".at_s", p.AtS, 0, 1e6))
	case "step":
		if p.AtS >= horizon {
			return fault(key+".at_s", "%v s is past the horizon of %v s", p.AtS, horizon)
		}
		return first(within(key+".at_s", p.AtS, 0, 1e6), within(key+".to", p.To, 0, maxFlows))
	case "walk":
		return first(
			within(key+".max", p.Max, p.Min, maxFlows),
			within(key+".min", p.Min, 0, p.Max),
			within(key+".n", p.N, p.Min, p.Max),
			within(key+".amplitude", p.Amplitude, 0, maxFlows))
	case "series":
		if len(p.Series) == 0 {
			return fault(key+".series", "is empty")
		}
		for i, x := range p.Series {
			if err := within(fmt.Sprintf("%s.series[%d]", key, i), x, 0, maxFlows); err != nil {
				return err
			}
		}
		if at := float64(len(p.Series)-1) * p.EveryS; at >= horizon {
			return fault(key+".series", "its last value begins at %v s, past the horizon of %v s", at, horizon)
		}
	case "sessions":
		return first(
			within(key+".per_second", p.PerSecond, 1e-6, 1e3),
			within(key+".stay_s", p.StayS, 1e-3, 1e6),
			within(key+".max", p.Max, 1, maxFlows))
	}
	return nil
}
