package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

func collector(t testing.TB, cfg live.Config) *live.Collector {
	t.Helper()
	if cfg.Switches == nil {
		cfg.Switches = []uint32{1, 2, 3}
	}
	c, err := live.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// post gives the player's handler a body.
func post(t testing.TB, c *live.Collector, query, body string) (int, string) {
	t.Helper()
	w := request(c, "POST", "/"+query, body)
	return w.Code, strings.TrimSpace(w.Body.String())
}

// probeOf reports queues, by switch: depth, µs of waiting, depth at dequeue.
func probeOf(hops ...[3]uint32) *intreport.Report {
	r := &intreport.Report{Format: intreport.Probe}
	for i, h := range hops {
		r.Hops = append(r.Hops, intreport.Hop{
			Has:    intreport.HasSwitch | intreport.HasQueue | intreport.HasWait,
			Switch: uint32(i + 1), Depth: h[0], Wait: uint64(h[1]) * 1000, DeqDepth: h[2],
		})
	}
	return r
}

// window reads seconds from start.
func window(t testing.TB, c *live.Collector, start time.Time, seconds int) ([]float32, []bool, live.Age) {
	t.Helper()
	n := seconds * len(c.Columns())
	values, valid := make([]float32, n), make([]bool, n)
	age, err := c.Window(t.Context(), start, values, valid)
	if err != nil {
		t.Fatal(err)
	}
	return values, valid, age
}

// show prints a window, a line a second, "-" where nothing was measured.
func show(c *live.Collector, values []float32, valid []bool) string {
	var b strings.Builder
	for i, v := range values {
		if valid[i] {
			fmt.Fprintf(&b, " %v", v)
		} else {
			b.WriteString(" -")
		}
		if (i+1)%len(c.Columns()) == 0 {
			b.WriteString("\n")
		}
	}
	return b.String()
}

// TestJoinAgrees: what is collected live and joined window by window is what
// telemetry.Join makes of the logs of the same run.
func TestJoinAgrees(t *testing.T) {
	const seconds = 120
	for _, how := range []telemetry.Aggregation{telemetry.MaxTimedelta1, telemetry.Max, telemetry.Mean, telemetry.P95, telemetry.Count} {
		t.Run(string(how), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 2))
			c := collector(t, live.Config{Aggregate: how, Switches: []uint32{7, 5}, Stalls: true})
			var ints, dash strings.Builder
			ints.WriteString("timestamp,enq_qdepth1,deq_timedelta1,deq_qdepth1,enq_qdepth2,deq_timedelta2,deq_qdepth2\n")
			dash.WriteString("timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate;stall_s\n")
			first := time.Now().UnixMilli()/1000*1000 - 1000*1000 + 437
			second := time.UnixMilli(first / 1000 * 1000)
			for ms := int64(0); ms < seconds*1000; ms += 50 + rnd.Int64N(900) { // leaves seconds without a probe
				at := second.UnixMilli() + ms
				h := [6]uint32{rnd.Uint32N(64), rnd.Uint32N(60000), rnd.Uint32N(64), rnd.Uint32N(64), rnd.Uint32N(60000), rnd.Uint32N(64)}
				fmt.Fprintf(&ints, "%.3f,%d,%d,%d,%d,%d,%d\n", float64(at)/1000, h[0], h[1], h[2], h[3], h[4], h[5])
				r := probeOf([3]uint32(h[:3]), [3]uint32(h[3:]))
				r.Hops[0].Switch, r.Hops[1].Switch = 7, 5
				c.Report(time.UnixMilli(at), r)
			}
			cum := 1000
			for s := range int64(seconds) {
				if s%17 == 9 {
					continue // a sample is lost
				}
				at := first + s*1000 + rnd.Int64N(9) - 4
				if s == 0 {
					at = first
				}
				cum += rnd.IntN(500)
				line := fmt.Sprintf("%d;%.3f;30;3312;1280x720;%d;0.25\n", at, rnd.Float64()*60, cum)
				dash.WriteString(line)
				header, _, _ := strings.Cut(dash.String(), "\n")
				if code, answer := postAt(t, c, time.UnixMilli(at), header+"\n"+line); code != 200 {
					t.Fatal(answer)
				}
			}
			read := func(text string, f telemetry.Format) *telemetry.Reader {
				r, err := telemetry.NewReader(strings.NewReader(text), "log", f)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			want, err := telemetry.Join(read(ints.String(), telemetry.INT), read(dash.String(), telemetry.DASH), how)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(c.Columns(), want.Fields()) {
				t.Fatalf("columns %v, want %v", c.Columns(), want.Fields())
			}
			for s := 0; s < want.Len(); s += 4 {
				values, valid, _ := window(t, c, second.Add(time.Duration(s)*time.Second), 4)
				for i := range values {
					if s+i/len(c.Columns()) >= want.Len() {
						break
					}
					v, ok := want.At(s+i/len(c.Columns()), i%len(c.Columns()))
					if valid[i] != ok || ok && values[i] != v {
						t.Fatalf("second %d, %s: %v %v, want %v %v", s+i/len(c.Columns()), c.Columns()[i%len(c.Columns())].Name, values[i], valid[i], v, ok)
					}
				}
			}
			if s := c.Stats(); s.Late+s.Dropped+s.Unknown+s.BadSamples != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestWindow: a window waits for its end and a little, tells how old its
// values are and repeats the last good ones where it has none.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector(t, live.Config{Settle: 200 * time.Millisecond, Aggregate: telemetry.Max})
		start := time.Now().Add(300 * time.Millisecond)
		go func() {
			time.Sleep(300 * time.Millisecond)
			for i := range uint32(3) { // silent in the last second
				c.Report(time.Now(), probeOf([3]uint32{i, 10 * i, 1}, [3]uint32{5, 6, 7}))
				time.Sleep(time.Second - time.Millisecond)
				post(t, c, "", fmt.Sprintf(`{"timestamp": %d, "Buffer": %d, "CalcBitrate": %d}`, time.Now().UnixMilli(), 10+i, 100*(i+1)))
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Second - 2*time.Millisecond)
			c.Report(time.Now(), probeOf([3]uint32{9, 9, 9})) // at 3.998 s
			time.Sleep(100 * time.Millisecond)
			c.Report(time.Now(), probeOf([3]uint32{8, 8, 8})) // after the end, before it is read
		}()
		values, valid, age := window(t, c, start, 4)
		if waited := time.Since(start); waited != 4200*time.Millisecond {
			t.Errorf("read %v after the start", waited)
		}
		want := " 0 0 1 5 6 7 - - - 10 - - - - -\n" +
			" 1 10 1 5 6 7 - - - 11 - - 100 - -\n" +
			" 2 20 1 5 6 7 - - - 12 - - 100 - -\n" +
			" 9 9 9 - - - - - - - - - - - -\n"
		if got := show(c, values, valid); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		if f := len(c.Columns()); values[3*f+3] != 5 || values[3*f+9] != 12 || values[6] != 0 {
			t.Errorf("filled with %v", values)
		}
		if !slices.Equal(age.Switches, []time.Duration{0, 2 * time.Second, live.Never}) || age.Player != time.Second+time.Millisecond || age.Oldest() != live.Never {
			t.Errorf("%+v", age)
		}
		// The next one begins where this ended, and has the probe of then.
		values, valid, age = window(t, c, start.Add(4*time.Second), 2)
		if got := show(c, values, valid); !strings.HasPrefix(got, " 8 8 8 - - -") || values[3] != 5 {
			t.Errorf("got\n%s", got)
		}
		if age.Switches[1] != 4*time.Second {
			t.Errorf("%+v", age)
		}
		// Too late is counted.
		c.Report(start, probeOf([3]uint32{1, 1, 1}))
		if s := c.Stats(); s.Late != 1 || s.Reports != 6 || s.Samples != 3 {
			t.Errorf("%+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Window(ctx, time.Now(), values, valid); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if _, err := c.Window(t.Context(), time.Now(), values[:7], valid[:7]); err == nil {
			t.Error("a window of half a second")
		}
	})
}

// TestSwitchClock: a report that came late belongs to when it was measured,
// by the switch's clock, whatever that starts from and wherever it wraps.
func TestSwitchClock(t *testing.T) {
	for _, wrap := range []uint64{0, 1 << 32, 1 << 48 * 1000} {
		synctest.Test(t, func(t *testing.T) {
			c := collector(t, live.Config{Switches: []uint32{1}, Aggregate: telemetry.Count})
			start := time.Now()
			stamp := uint64(3 << 30) // ns; wraps within two seconds at 2^32
			for i := range 80 {
				measured := time.Duration(i)*100*time.Millisecond + 10*time.Millisecond
				delay := time.Duration(i*7%13) * 40 * time.Millisecond // up to 480 ms
				if i == 0 {
					delay = 0
				}
				r := probeOf([3]uint32{1, 1, 1})
				r.Hops[0].Has |= intreport.HasEgressTime
				r.Hops[0].EgressTime, r.Hops[0].Wrap = stamp+uint64(measured), wrap
				if wrap > 0 {
					r.Hops[0].EgressTime %= wrap
				}
				c.Report(start.Add(measured+delay), r)
			}
			values, _, _ := window(t, c, start, 8)
			f := len(c.Columns())
			for s := range 8 {
				if values[s*f] != 10 {
					t.Errorf("wrap %d: %v reports in second %d, want 10", wrap, values[s*f], s)
				}
			}
		})
	}
}

// TestSecond: where a second of what is measured takes less than one of ours
// the columns are the same, by stamps of clocks that run as ours; a tap sees what
// came in.
func TestSecond(t *testing.T) {
	for _, scale := range []int64{1, 10, 100} {
		synctest.Test(t, func(t *testing.T) {
			var reports, samples []time.Time
			tap := &live.Tap{
				Report: func(at time.Time, values []float64, _ []bool) { reports = append(reports, at) },
				Sample: func(at time.Time, values []float64, valid []bool) {
					if samples = append(samples, at); !valid[0] || len(values) != len(live.PlayerFields()) {
						t.Errorf("%v %v", values, valid)
					}
				},
			}
			second := time.Second / time.Duration(scale)
			c := collector(t, live.Config{Switches: []uint32{1}, Aggregate: telemetry.Count, Second: second, Settle: time.Millisecond, Tap: tap})
			start := time.Now()
			for i := range int64(100) { // tenths of a second of theirs
				at := (i*100_000_000 + 5_000_000) / scale
				time.Sleep(time.Until(start.Add(time.Duration(at))))
				r := probeOf([3]uint32{1, 1, 1})
				r.Hops[0].Has |= intreport.HasEgressTime
				r.Hops[0].EgressTime, r.Hops[0].Wrap = uint64(at)%(1<<32), 1<<32
				c.Report(time.Now(), r)
				if i%10 == 4 {
					post(t, c, "", fmt.Sprintf(`{"timestamp": %d, "Buffer": %d}`, time.Now().UnixMilli(), i/10))
				}
			}
			values, valid, age := window(t, c, start, 10)
			if took := time.Since(start); took != 10*second+time.Millisecond {
				t.Errorf("%v", took)
			}
			f := len(c.Columns())
			for s := range 10 {
				if values[s*f] != 10 || values[s*f+1] != float32(s) || !valid[s*f+1] {
					t.Errorf("scale %d, second %d: %v reports, LBO %v", scale, s, values[s*f], values[s*f+1])
				}
			}
			if s := c.Stats(); s.ClockResets != 0 || len(reports) != 100 || len(samples) != 10 || age.Oldest() > second {
				t.Errorf("%+v, %+v, %d, %d", s, age, len(reports), len(samples))
			}
		})
	}
}

// TestOverload: where reports come faster than they are read, the oldest are
// dropped and counted.
func TestOverload(t *testing.T) {
	start := time.Now().Add(-2 * time.Hour)
	c := collector(t, live.Config{Reports: 100, Aggregate: telemetry.Count})
	for i := range 1000 {
		c.Report(start.Add(time.Duration(i)*time.Millisecond), probeOf([3]uint32{uint32(i), 1, 1}))
	}
	values, _, _ := window(t, c, start, 1)
	if s := c.Stats(); values[0] != 100 || s.Dropped != 900 || s.Reports != 1000 {
		t.Errorf("%v reports kept, %+v", values[0], s)
	}
	// Replacing what was read drops nothing.
	c.Report(start.Add(time.Second), probeOf([3]uint32{1, 1, 1}))
	if s := c.Stats(); s.Dropped != 900 {
		t.Errorf("%+v", s)
	}
	for i := range int64(5000) {
		at := start.Add(time.Duration(i) * time.Second)
		postAt(t, c, at, fmt.Sprintf(`{"timestamp": %d, "Buffer": 1}`, at.UnixMilli()))
	}
	if s := c.Stats(); s.Samples != 5000 || s.Dropped < 900+5000-4096-2 {
		t.Errorf("%+v", s)
	}
}

// TestFields: what a hop reports of queues, by format.
func TestFields(t *testing.T) {
	start := time.Now().Add(-time.Minute)
	c := collector(t, live.Config{Switches: []uint32{1}, Aggregate: telemetry.Max})
	const id = intreport.HasSwitch
	for i, c2 := range []struct {
		hop  intreport.Hop
		want string
	}{
		{intreport.Hop{Has: id | intreport.HasQueue | intreport.HasLatency, Depth: 3, Latency: 2500}, " 3 2.5 -"},
		{intreport.Hop{Has: id | intreport.HasQueue, Depth: 3}, " 3 - -"},
		{intreport.Hop{Has: id | intreport.HasIngressTime | intreport.HasEgressTime, IngressTime: 1<<32 - 1000, EgressTime: 1000, Wrap: 1 << 32}, " - 2 -"},
		{intreport.Hop{Has: id | intreport.HasIngressTime, IngressTime: 1}, " - - -"},
		{intreport.Hop{Has: intreport.HasQueue, Depth: 3}, " - - -"}, // of whom?
	} {
		c2.hop.Switch = 1
		at := start.Add(time.Duration(i) * time.Second)
		c.Report(at, &intreport.Report{Hops: []intreport.Hop{c2.hop}})
		values, valid, _ := window(t, c, at, 1)
		if got := show(c, values, valid); !strings.HasPrefix(got, c2.want+" ") {
			t.Errorf("%+v: %q, want %q", c2.hop, got, c2.want)
		}
	}
	if s := c.Stats(); s.Unknown != 1 {
		t.Errorf("%+v", s)
	}
}

// TestPorts: of a switch only the queue that is meant counts.
func TestPorts(t *testing.T) {
	start := time.Now().Add(-time.Minute)
	c := collector(t, live.Config{Switches: []uint32{1}, Ports: []uint32{2}, Aggregate: telemetry.Max})
	hop := intreport.Hop{Has: intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue, Switch: 1}
	for _, port := range []uint32{1, 2, 3} {
		hop.Egress, hop.Depth = port, 10*port
		c.Report(start, &intreport.Report{Hops: []intreport.Hop{hop}})
	}
	values, _, _ := window(t, c, start, 1)
	if s := c.Stats(); values[0] != 20 || s.Elsewhere != 2 || s.Unknown != 0 {
		t.Errorf("depth %v, %+v", values[0], s)
	}
	hop.Has, hop.Depth = hop.Has&^intreport.HasPorts, 40
	c.Report(start.Add(time.Second), &intreport.Report{Hops: []intreport.Hop{hop}})
	if values, _, _ := window(t, c, start.Add(time.Second), 1); values[0] != 40 {
		t.Errorf("depth %v without a port", values[0])
	}
}

func TestConfigErrors(t *testing.T) {
	one := []uint32{1}
	for _, c := range []struct {
		cfg  live.Config
		want string
	}{
		{live.Config{}, "switches: 0 are not between 1 and 16"},
		{live.Config{Switches: []uint32{1, 2, 1}}, "switches: 1 is there twice"},
		{live.Config{Switches: one, Ports: []uint32{1, 2}}, "ports: 2 for 1 switches"},
		{live.Config{Switches: one, Aggregate: "median"}, `"median" is not one of`},
		{live.Config{Switches: one, Reports: -1}, "reports: -1 is not"},
		{live.Config{Switches: one, Settle: -1}, "settle: -1ns is not"},
		{live.Config{Switches: one, Second: -1}, "second: -1ns is not"},
		{live.Config{Switches: one, Decode: intreport.Config{DSCP: 64}}, "dscp: 64 is more than 63"},
	} {
		if _, err := live.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}

// TestFinite: whatever comes, a window's values are finite.
func TestFinite(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	c := collector(t, live.Config{Aggregate: telemetry.Mean, Stalls: true})
	start := time.Now().Add(-time.Minute)
	for range 2000 {
		h := intreport.Hop{
			Has: intreport.Field(rnd.Uint32()) | intreport.HasSwitch, Switch: 1 + rnd.Uint32N(4), Depth: rnd.Uint32(), Wait: rnd.Uint64(),
			Latency: rnd.Uint64(), IngressTime: rnd.Uint64(), EgressTime: rnd.Uint64(), Wrap: rnd.Uint64() >> rnd.UintN(64),
		}
		c.Report(start.Add(time.Duration(rnd.Int64N(int64(4*time.Second)))), &intreport.Report{Hops: []intreport.Hop{h}})
	}
	values, _, _ := window(t, c, start, 4)
	for i, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			t.Fatalf("%v in %s", v, c.Columns()[i%len(c.Columns())].Name)
		}
	}
}

func BenchmarkDatagram(b *testing.B) {
	c := collector(b, live.Config{Switches: []uint32{1, 2, 3}, Aggregate: telemetry.Max})
	r := intreport.Report{Format: intreport.V20, Node: 3, Tracked: true}
	for i := range uint32(3) {
		r.Hops = append(r.Hops, intreport.Hop{Has: intreport.HasSwitch | intreport.HasQueue | intreport.HasLatency | intreport.HasEgressTime, Switch: i + 1, Depth: 7, Latency: 5000, EgressTime: 1})
	}
	wire, err := intreport.Append(nil, intreport.Config{}, &r)
	if err != nil {
		b.Fatal(err)
	}
	at := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.Datagram(at, wire)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
	if s := c.Stats(); s.Malformed != 0 || !bytes.Contains(wire, []byte{0, 0, 0, 3}) {
		b.Fatalf("%+v", s)
	}
}

// probeFrame is a probe of three switches that waited µs at each.
func probeFrame(t *testing.T, us uint64) []byte {
	t.Helper()
	r := &intreport.Report{Format: intreport.Probe}
	for i := range uint32(3) {
		r.Hops = append(r.Hops, intreport.Hop{
			Has:    intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime | intreport.HasWait,
			Switch: i + 1, Depth: 64 - i, DeqDepth: 3, Wait: us * 1000,
		})
	}
	b, err := intreport.AppendProbeFrame(nil, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
