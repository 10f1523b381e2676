package doppelganger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/netflow"
	"github.com/planegym/planegym/traffic/traffictest"
)

// sessions are n of two labels: one short, from few clients, one of many steps
// over several chunks. Their rare values are in no other session.
func sessions(n int) *traffic.Set {
	set := &traffic.Set{Of: traffic.Schema{
		Labels: []string{"query", "bulk"},
		Meta: []traffic.Field{{Name: "protocol", Kind: traffic.Symbol, Levels: []string{"udp", "tcp"}},
			{Name: "client", Kind: traffic.Address}, {Name: "server_port", Kind: traffic.Port}},
		Steps: []traffic.Field{{Name: "gap", Unit: "s", Kind: traffic.Gap}, {Name: "size", Unit: "B", Kind: traffic.Size},
			{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}}},
	}}
	for i := range n {
		key := rng.Key{Seed: 5, A: uint32(i), Purpose: rng.Bootstrap}
		s := traffic.Session{Label: 0, Start: float64(i) * .25, Meta: []float64{0, float64(key.Intn(0, 4)), 53}, Steps: []float64{0, 60, 0}}
		if key.Float64(1) < .5 {
			s.Steps = append(s.Steps, .01*(1+key.Float64(2)), 120, 1)
		}
		if i%3 == 0 {
			s.Label, s.Meta = 1, []float64{1, float64(key.Intn(3, 40)), float64(20000 + 97*i)}
			for t := range 5 + key.Intn(4, 30) {
				s.Steps = append(s.Steps, key.Float64(uint32(10+t)), float64(1448-key.Intn(uint32(100+t), 40)), float64(t%2))
			}
		}
		if i%10 == 7 {
			s.Steps[1] = float64(30011 + 211*i) // rare
		}
		set.Sessions = append(set.Sessions, s)
	}
	return set
}

func tiny(mode string) Config {
	return Config{Mode: mode, Updates: 24, Batch: 16, Width: 16, Hidden: 8, Critic: 16, Chunks: 4, Checks: 3, Noise: 4}
}

func fitted(t testing.TB, c Config, o traffic.FitOptions) *Model {
	t.Helper()
	m, err := Fit(context.Background(), sessions(150), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encoded(t testing.TB, m *Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestContract(t *testing.T) {
	for _, mode := range Modes {
		m := fitted(t, tiny(mode), traffic.FitOptions{})
		t.Run(mode, func(t *testing.T) {
			traffictest.Check(t, func(*testing.T) traffic.Model { return m })
		})
		again, err := Parse(encoded(t, m))
		if err != nil {
			t.Fatal(err)
		}
		r := traffic.Request{N: block + 40, Seed: 4}
		a, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), r))
		if err != nil {
			t.Fatal(err)
		}
		r.N = block + 3 // another size of the last block
		b, err := traffic.Collect(again.Schema(), again.Sample(context.Background(), r))
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Sessions {
			if !slices.Equal(a.Sessions[i].Steps, b.Sessions[i].Steps) || !slices.Equal(a.Sessions[i].Meta, b.Sessions[i].Meta) {
				t.Fatalf("%s: session %d differs once the model was saved and read", mode, i)
			}
		}
	}
}

// A run gives equal bytes on one thread and two, and when it was stopped
// halfway, before and between candidates, and resumed from its file.
func TestResume(t *testing.T) {
	for _, mode := range Modes {
		want := encoded(t, fitted(t, tiny(mode), traffic.FitOptions{Seed: 3, Threads: 1}))
		if got := encoded(t, fitted(t, tiny(mode), traffic.FitOptions{Seed: 3, Threads: 2})); !bytes.Equal(got, want) {
			t.Errorf("%s: two threads give other bytes than one", mode)
		}
		for _, stop := range []int{7, 18} {
			o := traffic.FitOptions{Seed: 3, Path: filepath.Join(t.TempDir(), "m.safetensors")}
			ctx, cancel := context.WithCancel(t.Context())
			o.Report = func(p traffic.Progress) {
				if p.Done == stop {
					cancel()
				}
			}
			m, err := Fit(ctx, sessions(150), tiny(mode), o)
			if !errors.Is(err, context.Canceled) || m == nil || m.Updates != stop || m.Done() {
				t.Fatalf("%s: cancelled: %v, model %v", mode, err, m != nil)
			}
			o.Report, o.Resume = nil, true
			for name, change := range map[string]func(c *Config, o *traffic.FitOptions, n *int){
				"seed":     func(c *Config, o *traffic.FitOptions, n *int) { o.Seed++ },
				"settings": func(c *Config, o *traffic.FitOptions, n *int) { c.Hidden++ },
				"sessions": func(c *Config, o *traffic.FitOptions, n *int) { *n-- },
				"engine":   func(c *Config, o *traffic.FitOptions, n *int) { o.Kernels = "go" },
			} {
				c, o, n := tiny(mode), o, 150
				change(&c, &o, &n)
				if _, err := Fit(t.Context(), sessions(n), c, o); !errors.Is(err, ErrResume) || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: other %s: %v", mode, name, err)
				}
			}
			if got := encoded(t, fitted(t, tiny(mode), o)); !bytes.Equal(got, want) {
				t.Errorf("%s: resumed after %d updates, the bytes differ", mode, stop)
			}
			if _, err := Fit(t.Context(), sessions(150), tiny(mode), o); !errors.Is(err, ErrResume) {
				t.Errorf("%s: resumed after its end: %v", mode, err)
			}
		}
	}
}

// Every step of every session is in one window, and comes back from what the
// series critic sees.
func TestNoRecordIsLost(t *testing.T) {
	set := sessions(150)
	set.Sessions = append(set.Sessions, traffic.Session{Label: -1, Start: 1000, Meta: []float64{0, 0, 53}})
	c := tiny(Adversarial).withDefaults()
	k, err := newCodec(c, set)
	if err != nil {
		t.Fatal(err)
	}
	e := k.encode(set, c.Window)
	set = k.inner(set)
	seen, records := make([][]bool, len(e.attributes)), 0
	pieces := map[[2]int32]bool{}
	for i := range e.attributes {
		n := set.Of.Len(&set.Sessions[i])
		seen[i], records = make([]bool, n), records+n
	}
	for _, w := range e.windows {
		pieces[[2]int32{w.session, w.chunk}] = true
		if w.n < 1 || int(w.n) > c.Window {
			t.Fatalf("a window of %d steps", w.n)
		}
		for at := w.from; at < w.from+w.n; at++ {
			if seen[w.session][at] {
				t.Fatalf("session %d: step %d is in two windows", w.session, at)
			}
			seen[w.session][at] = true
			row := e.steps[w.session][int(at)*k.row:][:k.row]
			x, s := set.Of.Step(&set.Sessions[w.session], int(at)), &set.Sessions[w.session]
			for j, f := range k.numeric {
				kind := set.Of.Steps[f].Kind
				lo, hi := k.extremes(s, f)
				lo, hi = scale(kind, lo), scale(kind, hi)
				if got := unscale(kind, lo+float64(row[j])*(hi-lo)); math.Abs(got-x[f]) > 1e-5*(1+x[f]) {
					t.Fatalf("session %d step %d: %s is %v, was %v", w.session, at, set.Of.Steps[f].Name, got, x[f])
				}
			}
			if goes := row[k.row-1] == 1; goes == (w.end && at == w.from+w.n-1) {
				t.Fatalf("session %d: step %d of a piece goes on: %v", w.session, at, goes)
			}
		}
	}
	for i := range seen {
		if slices.Contains(seen[i], false) {
			t.Errorf("session %d has a step in no window", i)
		}
	}
	a := e.account
	if a.Records != records || a.Sessions != 150 || a.Empty != 1 || a.Pieces != len(pieces) || a.Windows != len(e.windows) || len(pieces) <= 150 {
		t.Errorf("account %+v of %d records, %d pieces", a, records, len(pieces))
	}
	for p := range pieces {
		if e.attributes[p[0]][k.tags+int(p[1])] != 1 {
			t.Errorf("session %d has steps in chunk %d, no tag", p[0], p[1])
		}
	}
}

// What is in a file are networks and classes: no number of it is a rare size,
// port or address of training.
func TestNoRareValueInFile(t *testing.T) {
	set := sessions(150)
	count := map[float64]int{}
	for i := range set.Sessions {
		s := &set.Sessions[i]
		count[s.Meta[2]]++
		for n := range set.Of.Len(s) {
			count[set.Of.Step(s, n)[1]]++
		}
	}
	rare := map[float64]bool{}
	for x, n := range count {
		if n < 2 && x > 4000 { // below, a count or an edge of the grid may be equal by chance
			rare[x] = true
		}
	}
	if len(rare) < 40 {
		t.Fatalf("%d rare values", len(rare))
	}
	for _, mode := range Modes {
		m := fitted(t, tiny(mode), traffic.FitOptions{})
		b := encoded(t, m)
		f, err := safetensors.New(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		numbers := 0
		check := func(where string, x float64) {
			if numbers++; rare[x] {
				t.Errorf("%s: %s holds %v", mode, where, x)
			}
		}
		var walk func(where string, v any)
		walk = func(where string, v any) {
			switch v := v.(type) {
			case float64:
				check(where, v)
			case []any:
				for _, x := range v {
					walk(where, x)
				}
			case map[string]any:
				for name, x := range v {
					walk(where+"."+name, x)
				}
			}
		}
		for name, text := range f.Metadata {
			var v any
			if json.Unmarshal([]byte(text), &v) == nil {
				walk(name, v)
			}
		}
		for _, name := range f.Names() {
			info, _ := f.Info(name)
			if info.Type != "F32" {
				t.Errorf("%s: %s is of type %s", mode, name, info.Type)
				continue
			}
			n := 1
			for _, d := range info.Shape {
				n *= d
			}
			v := make([]float32, n)
			if err := safetensors.Read(f, name, v, info.Shape...); err != nil {
				t.Fatal(err)
			}
			for _, x := range v {
				check(name, float64(x))
			}
		}
		if numbers < 1000 {
			t.Errorf("%s: %d numbers in the file", mode, numbers)
		}
	}
}

// A class comes back as a value of the class; common values exactly; the grid
// knows nothing of the data.
func TestClasses(t *testing.T) {
	for kind, values := range map[traffic.Kind][]float64{
		traffic.Size:    {0, 0, 1, 2, 3, 40, 40, 40, 40, 40, 977, 1448, 1448, 1448, 1448, 1448, 33333, 4294967295},
		traffic.Gap:     {0, 0, 1e-7, 3e-6, .2, .2, .2, .2, .2, .25, 300.001},
		traffic.Number:  {-5.5, -.001, 0, 2.25, 2.25, 2.25, 2.25, 2.25, 1e9},
		traffic.Port:    {0, 0, 0, 53, 53, 53, 53, 53, 443, 1023, 1024, 50000, 65535},
		traffic.Address: {0, 0, 0, 0, 0, 1, 2, 3, 500, 70000},
	} {
		f := traffic.Field{Name: "x", Kind: kind}
		c := newClasses(&f, values, 4, 5)
		if err := errors.Join(c.check(), c.valid(&f)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for _, x := range values {
			class := c.encode(x)
			for _, u := range []float64{0, .3, .99999} {
				if y := c.decode(class, u); c.encode(y) != class && !slices.Contains(c.Exact, y) {
					t.Errorf("%s: %v is class %d, whose %v is class %d", kind, x, class, y, c.encode(y))
				}
			}
			n := 0
			for _, y := range values {
				if y == x {
					n++
				}
			}
			if n >= 5 && c.decode(class, .5) != x {
				t.Errorf("%s: %v, %d times, comes back as %v", kind, x, n, c.decode(class, .5))
			}
			if n == 1 && slices.Contains(c.Exact, x) {
				t.Errorf("%s: %v, once, is a class", kind, x)
			}
		}
		for i, x := range c.Edges {
			if g := grid(kind, x); g != x {
				t.Errorf("%s: edge %v is off the grid: %v", kind, x, g)
			}
			if isNumeric(kind) && i > 0 && c.Edges[i-1] > 0 && x > 2*c.Edges[i-1] {
				t.Errorf("%s: a range from %v to %v", kind, c.Edges[i-1], x)
			}
		}
	}
}

// For a loss of second degree the estimator's mean is the gradient of the
// expected loss, exactly: d/dlogits Σ p_c f(e_c) = p⊙(f - p·f).
func TestDrawBack(t *testing.T) {
	p := []float32{.1, .2, .3, .4}
	a := [4][4]float64{{1, .5, -2, 0}, {.5, -3, 1, 2}, {-2, 1, 2, -1}, {0, 2, -1, .5}}
	lin := [4]float64{1, -1, .5, 3}
	f := func(c int) float64 { return a[c][c]/2 + lin[c] }
	want, got, mean := [4]float64{}, [4]float64{}, 0.
	for c := range 4 {
		mean += float64(p[c]) * f(c)
	}
	for c := range 4 {
		want[c] = float64(p[c]) * (f(c) - mean)
		g, d := make([]float32, 4), make([]float32, 4)
		for j := range 4 {
			g[j] = float32(a[j][c] + lin[j])
		}
		drawBack(d, p, g, int32(c))
		for j := range 4 {
			got[j] += float64(p[c]) * float64(d[j])
		}
	}
	for j := range 4 {
		if math.Abs(got[j]-want[j]) > 1e-6 {
			t.Errorf("logit %d: mean %v, want %v", j, got[j], want[j])
		}
	}
}

func TestRankSums(t *testing.T) {
	got := rankSums([][]float64{{1, 5, 2}, {3, 5, 1}, {2, 4, 0}})
	if !slices.Equal(got, []float64{3.5, 4.5, 1}) {
		t.Errorf("rank sums %v", got)
	}
}

// In 800 updates both modes learn which label is short, which port goes with
// it, and how common its second step is.
func TestLearns(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, mode := range Modes {
		c := tiny(mode)
		c.Updates, c.Batch, c.Width, c.Critic, c.Hidden, c.Noise, c.Rate = 800, 64, 32, 48, 24, 8, 1e-3
		m := fitted(t, c, traffic.FitOptions{})
		set, err := traffic.Collect(m.Schema(), m.Sample(context.Background(), traffic.Request{N: 1000, Labels: []int{0}, Seed: 1}))
		if err != nil {
			t.Fatal(err)
		}
		port, two, long := 0., 0., 0.
		for i := range set.Sessions {
			s := &set.Sessions[i]
			if s.Meta[2] == 53 && s.Meta[0] == 0 {
				port += .001
			}
			switch n := set.Of.Len(s); {
			case n == 2:
				two += .001
			case n > 2:
				long += .001
			}
		}
		t.Logf("%s: port 53 %.3f, two steps %.3f, longer %.3f", mode, port, two, long)
		if port < .9 || math.Abs(two-.5) > .2 || long > .15 {
			t.Errorf("%s: port 53 with udp in %.3f, two steps %.3f, longer %.3f of the short label's sessions", mode, port, two, long)
		}
	}
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"mode": func(c *Config) { c.Mode = "vae" }, "updates": func(c *Config) { c.Updates = -1 }, "batch": func(c *Config) { c.Batch = 1 },
		"window": func(c *Config) { c.Window = 7 }, "packing": func(c *Config) { c.Packing = 5 }, "rate": func(c *Config) { c.Rate = math.NaN() },
		"penalty": func(c *Config) { c.Penalty = -1 }, "average": func(c *Config) { c.Average = 1 }, "common": func(c *Config) { c.Common = 1 },
	} {
		c := tiny(Adversarial)
		change(&c)
		_, err := Fit(t.Context(), sessions(5), c, traffic.FitOptions{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty := &traffic.Set{Of: sessions(1).Of}
	if _, err := Fit(t.Context(), empty, tiny(Adversarial), traffic.FitOptions{}); err == nil {
		t.Error("no session is accepted")
	}
}

func TestParseRefuses(t *testing.T) {
	good := encoded(t, fitted(t, tiny(Adversarial), traffic.FitOptions{}))
	for name, b := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)/2],
		"format": bytes.Replace(good, []byte(Format), []byte("planegym.doppelganger.v9"), 1),
		"edges":  bytes.Replace(good, []byte(`\"chunks\":4,\"span`), []byte(`\"chunks\":5,\"span`), 1),
	} {
		if _, err := Parse(b); err == nil {
			t.Errorf("%s: is accepted", name)
		}
	}
}

// BenchmarkSample counts records a second of processor time, of a model with
// the classes of UGR16's records. The weights are those after two updates.
func BenchmarkSample(b *testing.B) {
	dir := os.Getenv("PLANEGYM_DATA")
	f, err := os.Open(filepath.Join(dir, "traffic", "ugr16_small.csv"))
	if dir == "" || err != nil {
		b.Skip("PLANEGYM_DATA has no traffic/ugr16_small.csv")
	}
	defer f.Close()
	records, err := netflow.ReadCSV(f, "ugr16_small.csv", netflow.Options{})
	if err != nil {
		b.Fatal(err)
	}
	cpu := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	for _, mode := range Modes {
		b.Run(mode, func(b *testing.B) {
			m, err := Fit(b.Context(), netflow.Sessions(records), Config{Mode: mode, Updates: 2}, traffic.FitOptions{})
			if err != nil {
				b.Fatal(err)
			}
			n, begin := 0, cpu()
			for b.Loop() {
				for s, err := range m.Sample(b.Context(), traffic.Request{N: 16384, MaxSteps: 2}) {
					if err != nil {
						b.Fatal(err)
					}
					n += m.Schema().Len(&s)
				}
			}
			b.ReportMetric(float64(n)/(cpu()-begin), "records/CPU-s")
		})
	}
}
