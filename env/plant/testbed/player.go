package testbed

import (
	"math"

	"github.com/planegym/planegym/internal/rng"
)

// A player follows dash.js: segments of SegmentS seconds on one connection,
// one request at a time; below StableBufferS (below TopBufferS while at the
// top quality) it asks for the next at once. Quality is the lowest that these
// rules allow:
//
//   - ThroughputRule: the highest bitrate below 0.9 times the mean of the last
//     4 segments' throughput, of more where they vary by 1.3 or more
//     (ThroughputHistory, sliding window);
//   - BolaRule: Spiteri, Urgaonkar, Sitaraman, "BOLA: Near-Optimal Bitrate
//     Adaptation for Online Videos", INFOCOM 2016, with BOLA-O's cap
//     on upward switches and BOLA-E's placeholder buffer (MMSys 2018, below):
//     what the player waits because its buffer is full counts as buffer, else
//     12 s would never reach the top quality;
//   - dynamic: BOLA above the stable buffer until below half of it, else
//     throughput (Spiteri, Sitaraman, Sparacio, "From Theory to Practice:
//     Improving Bitrate Adaptation in the DASH Reference Player", MMSys 2018);
//   - InsufficientBufferRule: the lowest after a stall, else what arrives in
//     half the buffer.
//
// AbandonRequestsRule drops a segment that would take 1.8 times its duration
// and asks for a lower quality on a new connection.
type player struct {
	flow    uint32
	level   int32
	segment uint32 // index of the one in transfer
	from    uint32 // its first sequence number
	to      uint32 // one past its last
	bytes   float64

	loading, playing, started, bola bool
	abandoned, steady               bool // steady: BOLA is past its startup
	_                               [2]byte
	placeholder                     float64 // s
	finished                        int64   // when the last segment was complete; 0: taken in
	asked, first                    int64   // when it was asked for, when its first packet came; 0 not yet
	buffer, last                    int64   // ns of video; as of
	stalled                         int64   // ns in this second
	decoded                         float64

	history [20]float64 // kbit/s, a ring
	samples uint32
	head    uint32      // of queue, likewise a ring
	queue   [32]float64 // bytes of the segments in the buffer
	queued  uint32
	left    int64 // ns of the oldest one not yet played

	draw  draw
	total playerCount
	_     uint32
}

type playerCount struct {
	Segments, Stalls, Switches, Abandoned uint32
	Stalled                               int64
}

// videoPlan is what a player plays, and how.
type videoPlan struct {
	ladder      []Level
	abr         string
	duration    int64
	stable, top int64
	cv          float64
	abandon     bool
	gp, vp      float64 // of BOLA
	utility     []float64
}

func newVideoPlan(v Video) videoPlan {
	p := videoPlan{
		ladder: v.Ladder, abr: v.ABR, duration: ms(v.SegmentS * 1e3), stable: ms(v.StableBufferS * 1e3), top: ms(v.TopBufferS * 1e3),
		cv: v.SizeCV, abandon: !v.NoAbandon,
	}
	for _, l := range v.Ladder {
		p.utility = append(p.utility, math.Log(l.Kbps/v.Ladder[0].Kbps)+1)
	}
	// dash.js, calculateBolaParameters: the lowest quality at 10 s of buffer,
	// the highest at the stable buffer or 10 s and 2 s per level.
	const least = 10.0
	p.gp = (p.utility[len(p.utility)-1] - 1) / (max(v.StableBufferS, least+2*float64(len(v.Ladder)))/least - 1)
	if p.gp > 0 {
		p.vp = least / p.gp
	}
	return p
}

func (p *player) clear() { p.stalled, p.decoded = 0, 0 }

// advance plays until now.
func (p *player) advance(now int64, v *videoPlan) {
	dt := now - p.last
	p.last = now
	if !p.playing {
		if p.started {
			p.stall(dt)
		}
		return
	}
	play := min(dt, p.buffer)
	p.buffer -= play
	p.stall(dt - play)
	if play < dt {
		p.playing, p.placeholder = false, 0
		p.total.Stalls++
	}
	for play > 0 && p.queued > 0 {
		n := min(play, p.left)
		p.decoded += p.queue[p.head%32] * float64(n) / float64(v.duration)
		play -= n
		if p.left -= n; p.left == 0 {
			p.head++
			p.queued--
			p.left = v.duration
		}
	}
}

func (p *player) stall(dt int64) {
	p.stalled += dt
	p.total.Stalled += dt
}

// request asks the server for the next segment: s.now is when it gets there.
func (s *sim) request(k int) {
	p, v := &s.players[k], &s.video[s.planOf(k)]
	p.advance(s.now, v)
	t := &s.flows[p.flow].state
	if !p.abandoned {
		level := p.choose(v, s.now)
		if level != p.level {
			p.total.Switches++
		}
		p.level = level
	}
	p.abandoned = false
	size := v.ladder[p.level].Kbps * 125 * float64(v.duration) / 1e9
	if v.cv > 0 {
		n, _ := rng.Key{Seed: p.draw.seed, A: p.draw.who, B: p.segment + 1, Purpose: rng.Traffic}.Normal(0)
		sigma := math.Sqrt(math.Log(1 + v.cv*v.cv))
		size *= math.Exp(sigma*n - sigma*sigma/2)
	}
	n := uint32(max(math.Ceil(size/payload), 1))
	p.bytes, p.from, p.to = size, t.end, t.end+n
	p.loading, p.first = true, 0
	p.asked = s.now - s.pathDelay[t.back] - t.delay
	rest := size - float64(n-1)*payload
	s.write(int(p.flow), n, uint16(rest)+segmentBytes-payload)
}

// progress is in-order data reaching player k.
func (s *sim) progress(k int) {
	p := &s.players[k]
	if !p.loading {
		return
	}
	rcv := s.flows[p.flow].state.rcvNxt
	if p.first == 0 && after(rcv, p.from) {
		p.first = s.now
	}
	if after(p.to, rcv) {
		return
	}
	v := &s.video[s.planOf(k)]
	p.advance(s.now, v)
	p.loading = false
	p.sample(s.now)
	p.segment++
	p.total.Segments++
	if p.queued < 32 {
		p.queue[(p.head+p.queued)%32] = p.bytes
		p.queued++
	}
	if p.buffer == 0 {
		p.left = v.duration
	}
	p.buffer += v.duration
	p.playing, p.started = true, true
	p.settle(v, s.now)
	s.schedule(k)
}

// schedule times the next request.
func (s *sim) schedule(k int) {
	p, v := &s.players[k], &s.video[s.planOf(k)]
	t := &s.flows[p.flow].state
	target := v.stable
	if int(p.level) == len(v.ladder)-1 {
		target = v.top
	}
	t.wakeAt = s.now + max(p.buffer-target, 0) + s.pathDelay[t.back] + t.delay
	s.arm(int(p.flow), t.wakeAt)
}

// sample records the throughput of the segment that is complete.
func (p *player) sample(now int64) {
	took := now - p.first // dead time excluded, as dash.js does by default
	if took < 50e6 && p.samples > 0 {
		return // taken for a cached response
	}
	p.history[p.samples%20] = p.bytes * 8e6 / float64(max(took, 1e6))
	p.samples++
}

// throughput is the mean of the last segments', kbit/s; ok is false before
// the first.
func (p *player) throughput() (mean float64, ok bool) {
	if p.samples == 0 {
		return 0, false
	}
	have := min(p.samples, 20)
	at := func(i uint32) float64 { return p.history[(p.samples-i)%20] } // 1 is the latest
	n := min(4, have)
	for i := uint32(1); i < n && n < have; i++ {
		if r := at(i) / at(i+1); r >= 1.3 || r <= 1/1.3 {
			n++
		}
	}
	for i := uint32(1); i <= n; i++ {
		mean += at(i) / float64(n)
	}
	return mean, true
}

// best is the highest level whose bitrate fits.
func (v *videoPlan) best(kbps float64) int32 {
	l := 0
	for l+1 < len(v.ladder) && v.ladder[l+1].Kbps <= kbps {
		l++
	}
	return int32(l)
}

func (p *player) choose(v *videoPlan, now int64) int32 {
	mean, ok := p.throughput()
	if !ok {
		return 0
	}
	byRate := v.best(.9 * mean)
	level := byRate
	if v.abr == "dynamic" {
		p.watch(v)
	}
	if p.bola || v.abr == "bola" {
		level = p.bolaLevel(v, byRate, now)
	}
	switch {
	case p.started && !p.playing:
		return 0
	case p.segment > 2:
		level = min(level, v.best(.5*mean*float64(p.buffer)/float64(v.duration)))
	}
	return level
}

// watch turns BOLA on above the stable buffer and off below half of it.
func (p *player) watch(v *videoPlan) {
	threshold := v.stable
	if p.bola {
		threshold /= 2
	}
	p.bola = p.buffer > threshold
}

// bolaLevel is the level of the highest score (V(u + γp) - Q) / bitrate, Q
// being the buffer and its placeholder.
func (p *player) bolaLevel(v *videoPlan, byRate int32, now int64) int32 {
	if v.gp == 0 {
		return 0
	}
	buffer := float64(p.buffer) / 1e9
	if !p.steady { // its startup
		p.placeholder = max(0, v.bolaLeast(byRate)-buffer)
		p.steady = p.buffer >= v.duration
		return byRate
	}
	if p.finished > 0 {
		p.placeholder += float64(now-p.finished) / 1e9
		p.finished = 0
	}
	best, score := 0, math.Inf(-1)
	for l := range v.ladder {
		if x := (v.bolaMost(int32(l)) - buffer - p.placeholder) / v.ladder[l].Kbps; x >= score {
			best, score = l, x
		}
	}
	q := int32(best)
	if q > p.level && q > byRate {
		q = max(byRate, p.level)
	}
	p.placeholder = min(p.placeholder, max(0, v.bolaMost(q)-buffer))
	return q
}

// settle keeps the placeholder in proportion when a segment is complete: it
// decays, and with the buffer at its request is no more than BOLA fills.
func (p *player) settle(v *videoPlan, now int64) {
	if v.abr == "dynamic" {
		p.watch(v)
	}
	p.finished = now
	before := float64(p.buffer-v.duration+now-p.asked) / 1e9
	p.placeholder = min(.99*p.placeholder, max(0, v.bolaMost(p.level)-before))
}

// bolaMost is the buffer up to which BOLA downloads level q, in seconds.
func (v *videoPlan) bolaMost(q int32) float64 { return v.vp * (v.utility[q] + v.gp) }

// bolaLeast is the buffer from which BOLA prefers level q to those below.
func (v *videoPlan) bolaLeast(q int32) float64 {
	least := 0.0
	for i := range q {
		a, b := v.ladder[q].Kbps, v.ladder[i].Kbps
		least = max(least, v.vp*(v.gp+(a*v.utility[i]-b*v.utility[q])/(a-b)))
	}
	return least
}

// abandon drops a transfer that is far too slow.
func (s *sim) abandon(k int) {
	p, v := &s.players[k], &s.video[s.planOf(k)]
	if !v.abandon || !p.loading || p.first == 0 || p.level == 0 {
		return
	}
	p.advance(s.now, v)
	elapsed := s.now - p.first
	if elapsed < 500e6 || p.buffer > v.stable {
		return
	}
	t := &s.flows[p.flow].state
	loaded := p.bytes * float64(t.rcvNxt-p.from) / float64(p.to-p.from)
	kbps := loaded * 8e6 / float64(elapsed)
	if p.bytes*8e6/kbps < 1.8*float64(v.duration) {
		return
	}
	level := v.best(.9 * kbps)
	if level >= p.level || v.ladder[level].Kbps*125*float64(v.duration)/1e9 > p.bytes-loaded {
		return
	}
	p.level, p.abandoned, p.loading = level, true, false
	p.total.Abandoned++
	p.total.Switches++
	s.start(int(p.flow), 0)
}

// planOf is which videoPlan player k follows: its group's, or the measured
// player's own.
func (s *sim) planOf(k int) int {
	if k == 0 {
		return 0
	}
	load := uint32(s.flows[s.players[k].flow].state.group - 1)
	for i := range s.groups { // a load of sessions has two groups
		if g := &s.groups[i]; g.load == load {
			return int(g.plan)
		}
	}
	panic("testbed: a player of no load")
}
