package testbed

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
)

// Log is what a run measured since its reset, second by second and probe by
// probe. T seconds, S switches, F columns, P probes.
type Log struct {
	Seed   uint64
	Limits []p4.Limit // [T,S] in force
	Values []float32  // [T,F] by Columns
	Valid  []bool     // [T,F]
	Probes []Probed   // [P] in order of arrival
	Hops   []HopLog   // [P,S]

	plan     *plan
	from     int64     // ns, of the run's clock
	counters []float64 // [T] CalcBitrate, made when asked for
}

// Probed is a probe that arrived: ns since the log began.
type Probed struct{ Sent, Arrived int64 }

// HopLog is what a switch wrote into a probe.
type HopLog struct {
	Enqueued           int64 // ns since the run began: the switches' clock
	Timedelta          int32 // µs in queue
	EnqDepth, DeqDepth int32 // packets
}

// Keep makes a log of row, which starts over at each of its resets. Restore
// does not take back what it holds.
func (t *Testbed) Keep(row int) *Log {
	for row >= len(t.logs) {
		t.logs = append(t.logs, nil)
	}
	if t.logs[row] == nil {
		t.logs[row] = &Log{plan: t.plan}
	}
	return t.logs[row]
}

func (t *Testbed) log(row int) *Log {
	if row < len(t.logs) {
		return t.logs[row]
	}
	return nil
}

func (l *Log) reset(seed uint64, now int64) {
	if l != nil {
		*l = Log{Seed: seed, plan: l.plan, from: now, Limits: l.Limits[:0], Values: l.Values[:0], Valid: l.Valid[:0], Probes: l.Probes[:0], Hops: l.Hops[:0]}
	}
}

func (l *Log) second(limits []p4.Limit, values []float32, valid []bool) {
	if l != nil {
		l.Limits = append(l.Limits, limits...)
		l.Values = append(l.Values, values...)
		l.Valid = append(l.Valid, valid...)
	}
}

func (l *Log) probe(s *sim, r *probe, hops *[maxHops]hopValues) {
	if l == nil {
		return
	}
	l.Probes = append(l.Probes, Probed{r.sent - l.from, s.now - l.from})
	for n := range s.switches {
		h := &hops[n]
		l.Hops = append(l.Hops, HopLog{r.hops[s.hopOf[n]].enq, int32(h.deqTimedelta), int32(h.enqDepth), int32(h.deqDepth)})
	}
}

// Seconds is T.
func (l *Log) Seconds() int { return len(l.Limits) / l.plan.switches }

// Limit is the one limit that was in force at all switches and times, 0 where
// there were several.
func (l *Log) Limit() p4.Limit {
	for _, x := range l.Limits {
		if x != l.Limits[0] {
			return 0
		}
	}
	return l.Limits[0]
}

// Dataset is the log as the plant measured it.
func (l *Log) Dataset(start time.Time) (*telemetry.Dataset, error) {
	return telemetry.NewDataset(l.plan.columns(), int(l.Limit()), start, l.Values, l.Valid)
}

// WriteINT writes the probes as the published logs of probes have them: a
// probe a line, the last switch first, the fields of BMv2's v1model. start is
// when the log began, a whole second; a fraction is cut off, here and below.
func (l *Log) WriteINT(w io.Writer, start time.Time) error {
	b := bufio.NewWriter(w)
	b.WriteString("timestamp")
	for n := l.plan.switches; n > 0; n-- {
		fmt.Fprintf(b, ",switchID_t%[1]d, ingress_port%[1]d, egress_port%[1]d, egress_spec%[1]d, ingress_global_timestamp%[1]d, egress_global_timestamp%[1]d, enq_timestamp%[1]d, enq_qdepth%[1]d, deq_timedelta%[1]d, deq_qdepth%[1]d", n)
	}
	for i, p := range l.Probes {
		us := start.Unix()*1e6 + p.Arrived/1000
		fmt.Fprintf(b, "\n%d.%06d", us/1e6, us%1e6)
		for n := l.plan.switches; n > 0; n-- {
			h := l.Hops[i*l.plan.switches+n-1]
			us := h.Enqueued / 1000
			fmt.Fprintf(b, ",%d,%d,%d,0,%d,%d,%d,%d,%d,%d", n, ingressPort, egressPort, us, us+int64(h.Timedelta), us&math.MaxUint32, h.EnqDepth, h.Timedelta, h.DeqDepth)
		}
	}
	b.WriteByte('\n')
	return b.Flush()
}

// Ports of a switch in a line, as probes tell them.
const ingressPort, egressPort = 0, 1

// dashOffset is when within its second the player is asked: at its end.
const dashOffset = 999 * time.Millisecond

// WriteDASH writes the player's log as it is published: a second a line.
// stall_s is ours; readers that do not know it ignore it.
func (l *Log) WriteDASH(w io.Writer, start time.Time) error {
	b := bufio.NewWriter(w)
	b.WriteString("timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate;stall_s")
	for t := range l.Seconds() {
		s := l.player(t)
		fmt.Fprintf(b, "\n%d;%.3f;%g;%g;%dx%d;%d;%.3f", start.Truncate(time.Second).Add(time.Duration(t)*time.Second+dashOffset).UnixMilli(), s.buffer, s.fps, s.kbps, s.Width, s.Height, l.counter(t), s.stall)
	}
	b.WriteByte('\n')
	return b.Flush()
}

// WriteRows writes the join of the two as it is published: without
// timestamps, and without the seconds that no probe measured.
func (l *Log) WriteRows(w io.Writer) error {
	b := bufio.NewWriter(w)
	f := l.fields()
	for n := 1; n <= l.plan.switches; n++ {
		fmt.Fprintf(b, "enq_qdepth%[1]d,deq_timedelta%[1]d,deq_qdepth%[1]d,", n)
	}
	b.WriteString("Buffer,ReportedBitrate,FPS,CalcBitrate")
	for t := range l.Seconds() {
		if !l.Valid[t*f] {
			continue
		}
		b.WriteByte('\n')
		for _, x := range l.Values[t*f : t*f+3*l.plan.switches] {
			fmt.Fprintf(b, "%g,", x)
		}
		s := l.player(t)
		fmt.Fprintf(b, "%.3f,%g,%g,%d", s.buffer, s.kbps, s.fps, l.counter(t))
	}
	b.WriteByte('\n')
	return b.Flush()
}

func (l *Log) fields() int { return 3*l.plan.switches + 5 }

// playerSecond is the player at the end of a second.
type playerSecond struct {
	buffer, fps, kbps, stall float32
	Level
}

func (l *Log) player(t int) playerSecond {
	v := l.Values[t*l.fields()+3*l.plan.switches:]
	s := playerSecond{buffer: v[0], fps: v[1], kbps: v[2], stall: v[4]}
	ladder := l.plan.video[0].ladder
	if i := slices.IndexFunc(ladder, func(x Level) bool { return float32(x.Kbps) == s.kbps }); i >= 0 {
		s.Level = ladder[i]
	}
	return s
}

// counter is CalcBitrate after second t.
func (l *Log) counter(t int) int64 {
	if len(l.counters) <= t {
		f, at := l.fields(), 3*l.plan.switches+3
		for i := len(l.counters); i < l.Seconds(); i++ {
			x := float64(l.Values[i*f+at])
			if i > 0 {
				x += l.counters[i-1]
			}
			l.counters = append(l.counters, x)
		}
	}
	return int64(math.Round(l.counters[t]))
}

// WritePcap writes the probes as a capture at the client, in nanoseconds:
// Ethernet frames of intreport's probe format.
func (l *Log) WritePcap(w io.Writer, start time.Time) error {
	b := bufio.NewWriter(w)
	var head []byte
	head = binary.LittleEndian.AppendUint32(head, 0xa1b23c4d) // nanoseconds
	head = binary.LittleEndian.AppendUint16(head, 2)
	head = binary.LittleEndian.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...)
	head = binary.LittleEndian.AppendUint32(head, 1<<16) // longest frame
	head = binary.LittleEndian.AppendUint32(head, 1)     // Ethernet
	b.Write(head)
	s := l.plan.switches
	report := intreport.Report{Format: intreport.Probe, Hops: make([]intreport.Hop, s)}
	server, client := netip.AddrFrom4([4]byte{10, 0, 0, 1}), netip.AddrFrom4([4]byte{10, 0, 0, 2})
	var frame, h []byte
	for i, p := range l.Probes {
		for n := range s {
			l.Hops[i*s+n].report(n+1, &report.Hops[n])
		}
		var err error
		if frame, err = intreport.AppendProbeFrame(frame[:0], server, client, &report); err != nil {
			return err
		}
		at := start.Truncate(time.Second).Add(time.Duration(p.Arrived))
		h = binary.LittleEndian.AppendUint32(h[:0], uint32(at.Unix()))
		h = binary.LittleEndian.AppendUint32(h, uint32(at.Nanosecond()))
		h = binary.LittleEndian.AppendUint32(h, uint32(len(frame)))
		h = binary.LittleEndian.AppendUint32(h, uint32(len(frame)))
		b.Write(h)
		b.Write(frame)
	}
	return b.Flush()
}

// report is what switch n tells, in the units of reports.
func (h *HopLog) report(n int, r *intreport.Hop) {
	const us = 1000
	in := uint64(h.Enqueued / us * us)
	*r = intreport.Hop{
		Has:    intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime | intreport.HasWait,
		Switch: uint32(n), Ingress: ingressPort, Egress: egressPort, EgressSpec: egressPort,
		Depth: uint32(h.EnqDepth), DeqDepth: uint32(h.DeqDepth), Wait: uint64(h.Timedelta) * us,
		IngressTime: in, EgressTime: in + uint64(h.Timedelta)*us, EnqTime: in % (us << 32),
	}
}
