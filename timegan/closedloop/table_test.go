package closedloop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/testkit"
	"github.com/planegym/planegym/telemetry"
)

// The defaults are those of the comments, field by field; what is set stays.
func TestDefaults(t *testing.T) {
	text, err := json.Marshal(Config{}.withDefaults())
	if want := `{"hidden":64,"updates":1000,"window":192,"batch":32,"rate":0.003,"decay":0.01,"bins":24,"weight":4,"noise":0.05,"clock":0,"regimes":0,"seed":0}`; err != nil || !strings.HasPrefix(string(text), want[:len(want)-1]) {
		t.Errorf("%s\nwant %s", text, want)
	}
	set := Config{Hidden: 1, Updates: 2, Window: 3, Batch: 4, Rate: .5, Decay: -1, Bins: 6, Weight: 7, Noise: -1}
	if got := set.withDefaults(); got != set {
		t.Errorf("%+v became %+v", set, got)
	}
}

// Both sides of every bound of a configuration, whose error names the field.
func TestConfigBothSides(t *testing.T) {
	for _, k := range []struct {
		field          string
		accept, refuse []func(*Config)
	}{
		{"hidden", []func(*Config){func(c *Config) { c.Hidden = 1 }, func(c *Config) { c.Hidden = 4096 }}, []func(*Config){func(c *Config) { c.Hidden = -1 }, func(c *Config) { c.Hidden = 4097 }}},
		{"updates", []func(*Config){func(c *Config) { c.Updates = 1 }, func(c *Config) { c.Updates = math.MaxInt32 }}, []func(*Config){func(c *Config) { c.Updates = -1 }, func(c *Config) { c.Updates = math.MaxInt32 + 1 }}},
		{"window", []func(*Config){func(c *Config) { c.Window = 2 }, func(c *Config) { c.Window = 3600 }}, []func(*Config){func(c *Config) { c.Window = 1 }, func(c *Config) { c.Window = 3601 }}},
		{"batch", []func(*Config){func(c *Config) { c.Batch = 1 }, func(c *Config) { c.Batch = 4096 }}, []func(*Config){func(c *Config) { c.Batch = -1 }, func(c *Config) { c.Batch = 4097 }}},
		{"bins", []func(*Config){func(c *Config) { c.Bins = 2 }, func(c *Config) { c.Bins = 512 }}, []func(*Config){func(c *Config) { c.Bins = 1 }, func(c *Config) { c.Bins = 513 }}},
		{"clock", []func(*Config){func(c *Config) { c.Clock = 1 }, func(c *Config) { c.Clock = 604800 }}, []func(*Config){func(c *Config) { c.Clock = -1 }, func(c *Config) { c.Clock = 604801 }}},
		{"regimes", []func(*Config){func(c *Config) { c.Regimes = 0 }, func(c *Config) { c.Regimes = 16 }}, []func(*Config){func(c *Config) { c.Regimes = -1 }, func(c *Config) { c.Regimes = 17 }}},
		{"rate", []func(*Config){func(c *Config) { c.Rate = 1e-9 }, func(c *Config) { c.Rate = 1 }}, []func(*Config){func(c *Config) { c.Rate = -1e-9 }, func(c *Config) { c.Rate = 1.001 }, func(c *Config) { c.Rate = math.NaN() }}},
		{"decay", []func(*Config){func(c *Config) { c.Decay = -3 }, func(c *Config) { c.Decay = 1 }}, []func(*Config){func(c *Config) { c.Decay = 1.001 }, func(c *Config) { c.Decay = math.NaN() }}},
		{"noise", []func(*Config){func(c *Config) { c.Noise = -3 }, func(c *Config) { c.Noise = .9 }}, []func(*Config){func(c *Config) { c.Noise = .901 }, func(c *Config) { c.Noise = math.NaN() }}},
		{"weight", []func(*Config){func(c *Config) { c.Weight = 1e-9 }, func(c *Config) { c.Weight = 1e6 }}, []func(*Config){func(c *Config) { c.Weight = -1e-9 }, func(c *Config) { c.Weight = 1e6 + 1 }, func(c *Config) { c.Weight = math.NaN() }}},
	} {
		testkit.BothSides(t, "closedloop: "+k.field+": ", k.accept, k.refuse, func(edit func(*Config)) error {
			var c Config
			edit(&c)
			return c.Check()
		})
	}
}

// byHand is a codec of two switches with columns of every kind, written down.
func byHand() *codec {
	return &codec{Switches: 2, Limits: [][]int32{{32, 128}, {64}}, Buffer: 4, Columns: []column{
		{Kind: shareKind, Switch: 0, Lo: 0, Hi: 100}, {Kind: besideKind, Switch: 0, Lo: 0, Hi: 100, Integer: true}, {Kind: perKind, Switch: 0, Lo: 0, Hi: 1e6},
		{Kind: shareKind, Switch: 1, Lo: 0, Hi: 60}, {Kind: changeKind, Switch: -1, Lo: 0, Hi: 60}, {Kind: valueKind, Switch: -1, Lo: 1, Hi: 9, Integer: true},
		{Kind: shareKind, Switch: 7, Lo: 0, Hi: 100}, {Kind: constantKind, Switch: -1, Lo: 3, Hi: 3},
	}}
}

// A column's number is what its kind says, and its value comes back of it, within what was
// recorded.
func TestNumbersByHand(t *testing.T) {
	k, limits := byHand(), []int32{128, 64}
	v := []float32{32, 20, 660, 16, 10, 4, 64, 3}
	before := []float32{0, 0, 0, 0, 12.5, 0, 0, 0}
	for j, want := range []float64{.25, -12. / 128, 20, .25, -2.5, 4, .5, 3} {
		x := k.number(j, v, before, limits)
		if math.Abs(x-want) > 1e-9 {
			t.Errorf("column %d: %v, want %v", j, x, want)
		}
		if got := k.value(j, x, v, before, limits); got != v[j] {
			t.Errorf("column %d: %v comes back as %v", j, v[j], got)
		}
	}
	for _, c := range []struct {
		j       int
		x, want float64
	}{{0, 1, 100}, {0, -1, 0}, {5, 4.4, 4}, {5, 4.6, 5}, {5, 100, 9}, {5, -5, 1}, {4, 50, 60}, {4, -50, 0}, {1, .1, 45}} {
		if got := k.value(c.j, c.x, v, before, limits); float64(got) != c.want {
			t.Errorf("column %d: number %v is value %v, want %v", c.j, c.x, got, c.want)
		}
	}
	for j, want := range [][2]int{{-1, -1}, {0, -1}, {0, -1}, {-1, -1}, {-1, 4}, {-1, -1}, {-1, -1}, {-1, -1}} {
		if same, last := k.needs(j); [2]int{same, last} != want {
			t.Errorf("column %d needs %d and %d, want %v", j, same, last, want)
		}
		for missing := range v { // of this second
			ok := slices.Repeat([]bool{true}, len(v))
			ok[missing] = false
			if got, want := k.measured(j, ok, slices.Repeat([]bool{true}, len(v))), missing != j && missing != want[0]; got != want {
				t.Errorf("column %d without %d: measured is %v", j, missing, got)
			}
			if got, want := k.measured(j, slices.Repeat([]bool{true}, len(v)), ok), missing != want[1]; got != want {
				t.Errorf("column %d without %d before: measured is %v", j, missing, got)
			}
		}
	}
	m := &Model{codec: k}
	if m.Scale(0, 25) != .25 || m.Scale(7, 3) != 0 || m.Scale(7, 5) != 2 || m.Scale(5, 3) != .25 {
		t.Errorf("scaled %v %v %v %v", m.Scale(0, 25), m.Scale(7, 3), m.Scale(7, 5), m.Scale(5, 3))
	}
	if got := m.Limits(); !slices.Equal(got, []int32{32, 64, 128}) || m.Switches() != 2 {
		t.Errorf("limits %v of %d switches", got, m.Switches())
	}
}

// Hats are 1 at their knot and fall to 0 at the next; those of a limit on a scale of
// logarithms.
func TestHats(t *testing.T) {
	for _, c := range []struct {
		x    float64
		want []float32
	}{{-1, []float32{1, 0, 0}}, {0, []float32{1, 0, 0}}, {1, []float32{.75, .25, 0}}, {4, []float32{0, 1, 0}}, {5, []float32{0, .5, .5}}, {6, []float32{0, 0, 1}}, {60, []float32{0, 0, 1}}} {
		got := make([]float32, 3)
		if hats(got, []float64{0, 4, 6}, c.x); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.x, got, c.want)
		}
	}
	for _, c := range []struct {
		limit int32
		want  []float32
	}{{8, []float32{1, 0, 0}}, {16, []float32{1, 0, 0}}, {32, []float32{.5, .5, 0}}, {64, []float32{0, 1, 0}}, {128, []float32{0, 0, 1}}, {256, []float32{0, 0, 1}}} {
		got := make([]float32, 3)
		hats32(got, []int32{16, 64, 128}, c.limit)
		for i := range got {
			if math.Abs(float64(got[i]-c.want[i])) > 1e-6 {
				t.Errorf("limit %d: %v, want %v", c.limit, got, c.want)
			}
		}
	}
	for _, s := range []float64{0, 1, 2.5, 120, 239.5, 240} {
		if got, want := float64(since01(s)), math.Log(1+s)/math.Log(241); math.Abs(got-want) > 1e-6 {
			t.Errorf("%v s since: %v, want %v", s, got, want)
		}
	}
}

// A window that a change of load divides is the longer one of its first two parts.
func TestWindowsWithinARegime(t *testing.T) {
	tr := &track{seconds: 100, turns: []int{20, 30, 60}}
	for _, c := range []struct{ first, n, from, end int }{
		{0, 20, 0, 20}, {1, 20, 1, 20}, {5, 50, 5, 20}, {18, 30, 20, 30}, {10, 30, 10, 20}, {15, 15, 20, 30}, {15, 10, 20, 30}, {15, 8, 20, 28}, {2, 19, 2, 20}, {25, 80, 30, 60}, {60, 40, 60, 100}, {59, 41, 60, 100}, {90, 20, 90, 100},
	} {
		if from, end := tr.within(c.first, c.n); from != c.from || end != c.end {
			t.Errorf("%d seconds from %d: %d…%d, want %d…%d", c.n, c.first, from, end, c.from, c.end)
		}
	}
	for s, want := range map[int]int{0: 20, 19: 20, 20: 30, 29: 30, 30: 60, 60: 100, 99: 100} {
		if got := tr.next(s); got != want {
			t.Errorf("after second %d the next regime begins at %d, want %d", s, got, want)
		}
	}
}

// How long regimes last and what follows, by hand: first stays are left out, the last one
// of a recording is longer than was seen (Kaplan and Meier 1958).
func TestStaysByHand(t *testing.T) {
	path := func(stays ...int) (p []uint8) { // regime, seconds, …
		for i := 0; i < len(stays); i += 2 {
			p = append(p, slices.Repeat([]uint8{uint8(stays[i])}, stays[i+1])...)
		}
		return p
	}
	l := &load{K: 3}
	l.stays([][]uint8{path(0, 5, 1, 10, 0, 20, 1, 30, 2, 7), path(1, 3, 0, 40, 1, 20, 0, 9), path(2, 50)})
	if got, want := fmt.Sprint(l.Follows), "[0 1 0 0.75 0 0.25 0 0 0]"; got != want {
		t.Errorf("follows %s, want %s", got, want)
	}
	// Regime 1: 10, 20, 30 ended: thirds. Regime 0: 9 goes on unseen, 20 and 40 ended: halves. Regime 2: none ended.
	for z, want := range [][]int{{20, 32, 40, 32}, {10, 21, 20, 22, 30, 21}, nil} {
		n := map[int]int{}
		for _, s := range l.Lasts[z] {
			n[s]++
		}
		for i := 0; i < len(want); i += 2 {
			if d := n[want[i]] - want[i+1]; d < -1 || d > 1 {
				t.Errorf("regime %d lasts %v", z, l.Lasts[z])
			}
		}
		if len(n) != len(want)/2 || want != nil && !slices.IsSorted(l.Lasts[z]) {
			t.Errorf("regime %d lasts %v", z, l.Lasts[z])
		}
	}
	if l.next(0, 0) != 1 || l.next(1, .74) != 0 || l.next(1, .76) != 2 || l.next(1, .9999999) != 2 || l.next(2, .5) != 2 {
		t.Errorf("next: %d %d %d %d", l.next(0, 0), l.next(1, .74), l.next(1, .76), l.next(2, .5))
	}
	l.Lasts = [][]int{{10, 20, 40}, {7}, nil}
	for _, c := range []struct {
		z    uint8
		u    float64
		want uint32
	}{{0, 0, 10}, {0, .25, 15}, {0, .5, 20}, {0, .75, 30}, {0, .999, 39}, {1, .5, 7}, {2, .5, 1 << 30}} {
		if got := l.last(c.z, c.u); got != c.want {
			t.Errorf("regime %d at %v lasts %d, want %d", c.z, c.u, got, c.want)
		}
	}
	// What is left of a stay that is met anywhere in it: of 70 seconds each alike.
	n := map[uint32]int{}
	for i := range uint32(7000) {
		n[l.left(0, rng.Key{Seed: 3, A: i, Purpose: rng.Generated})]++
	}
	for left := uint32(1); left <= 40; left++ {
		want := 100.
		if left <= 10 {
			want = 300
		} else if left <= 20 {
			want = 200
		}
		if got := float64(n[left]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%d seconds are left in %v of 7000 cases, want about %v", left, got, want)
		}
	}
	if len(n) != 40 || l.left(2, rng.Key{}) != 1<<30 {
		t.Errorf("%d lengths are left; of a regime that never ends %d", len(n), l.left(2, rng.Key{}))
	}
}

// A row goes through stays as they were drawn: each second one is less left, and the next
// regime comes as the last one is over.
func TestLoadAdvances(t *testing.T) {
	l := &load{K: 2, Follows: []float64{0, 1, 1, 0}, Lasts: [][]int{{3, 9}, {5, 6}}}
	r := &simRow{seed: 4}
	r.Seconds, r.Left, r.Ahead = 1, 2, 1
	var turns []int
	seen := map[int]bool{}
	for s := range 400 {
		was := r.Regime
		if turned := l.advance(r, false); turned != (r.Regime != was) {
			t.Fatalf("second %d: turned is %v", s, turned)
		} else if turned {
			turns = append(turns, s)
		}
	}
	for i := 1; i < len(turns); i++ {
		n := turns[i] - turns[i-1]
		if i%2 == 1 && (n < 5 || n > 6) || i%2 == 0 && (n < 3 || n > 9) {
			t.Errorf("stay %d lasts %d s", i, n)
		}
		seen[n] = true
	}
	if turns[0] != 2 || len(seen) < 5 || int(r.Stays) != len(turns) {
		t.Errorf("turns at %v, %d stays", turns, r.Stays)
	}
}

// The chain against all paths one by one: the log-likelihood, what is probable in each
// second, the expected transitions, and the most likely path.
func TestChainAgainstAllPaths(t *testing.T) {
	for _, k := range []int{2, 3} {
		const d, limits, n = 2, 2, 6
		c := &chain{k: k, d: d, limits: limits, emit: make([]float64, d*k*limits*(width+1)*width), trans: make([]float64, k*k), first: make([]float64, k)}
		draw := func(what, i int) float64 {
			return .05 + rng.Key{Seed: 2, A: uint32(what), B: uint32(i), Purpose: rng.Init}.Float64(0)
		}
		logs := func(p []float64, what, from int) {
			sum := 0.
			for i := range p {
				p[i] = draw(what, from+i)
				sum += p[i]
			}
			for i := range p {
				p[i] = math.Log(p[i] / sum)
			}
		}
		for i := 0; i < len(c.emit); i += width {
			logs(c.emit[i:][:width], 1, i)
		}
		for z := range k {
			logs(c.trans[z*k:][:k], 2, z*k)
		}
		logs(c.first, 3, 0)
		o := &observed{n: n}
		for i := range n * d {
			o.class = append(o.class, int32(draw(4, i)*6)-1)
			o.limit = append(o.limit, int32(draw(5, i)*1.9))
		}
		o.class[0], o.class[3], o.class[4] = -1, -1, 5
		var paths [][]int
		for code := range int(math.Pow(float64(k), n)) {
			p := make([]int, n)
			for s := range p {
				p[s], code = code%k, code/k
			}
			paths = append(paths, p)
		}
		total, best, bestP := 0., 0, math.Inf(-1)
		in, trans := make([]float64, n*k), make([]float64, k*k)
		for i, p := range paths {
			lp := c.first[p[0]]
			for s := range n {
				if s > 0 {
					lp += c.trans[p[s-1]*k+p[s]]
				}
				for q := range d {
					class, before := o.class[s*d+q], int32(-1)
					if s > 0 {
						before = o.class[(s-1)*d+q]
					}
					if class >= 0 {
						lp += c.emit[(((q*k+p[s])*limits+int(o.limit[s*d+q]))*(width+1)+int(before)+1)*width+int(class)]
					}
				}
			}
			if lp > bestP {
				best, bestP = i, lp
			}
			total += math.Exp(lp)
			for s := range n {
				in[s*k+p[s]] += math.Exp(lp)
				if s > 0 {
					trans[p[s-1]*k+p[s]] += math.Exp(lp)
				}
			}
		}
		w, moves := make([]float64, n*k), make([]float64, k*k)
		if got := c.posterior(o, w, moves); math.Abs(got-math.Log(total)) > 1e-9 {
			t.Errorf("%d regimes: log-likelihood %v, want %v", k, got, math.Log(total))
		}
		for i := range w {
			if math.Abs(w[i]-in[i]/total) > 1e-9 {
				t.Errorf("%d regimes: second %d is of regime %d with %v, want %v", k, i/k, i%k, w[i], in[i]/total)
			}
		}
		for i := range moves {
			if math.Abs(moves[i]-trans[i]/total) > 1e-9 {
				t.Errorf("%d regimes: %v moves from %d to %d, want %v", k, moves[i], i/k, i%k, trans[i]/total)
			}
		}
		for s, z := range c.path(o) {
			if int(z) != paths[best][s] {
				t.Errorf("%d regimes: the most likely path is %v, want %v", k, c.path(o), paths[best])
				break
			}
		}
	}
}

// How far regimes go with the limit is the largest difference of a regime's share between
// limits, whichever they are.
func TestByLimitByHand(t *testing.T) {
	o := []observed{{n: 10, limit: []int32{0, 0, 0, 0, 1, 1, 1, 1, 1, 2}}}
	for _, c := range []struct {
		path string
		want float64
	}{{"0000000000", 0}, {"0101010101", 1}, {"0011001100", 1}, {"0001000010", .25}, {"0001000111", 1}} {
		var p []uint8
		for _, z := range c.path {
			p = append(p, uint8(z-'0'))
		}
		total, of := [3]float64{4, 5, 1}, [3]float64{}
		for s, z := range p {
			of[o[0].limit[s]] += float64(z)
		}
		want := max(of[0]/total[0], of[1]/total[1], of[2]/total[2]) - min(of[0]/total[0], of[1]/total[1], of[2]/total[2])
		if got := byLimit(o, [][]uint8{p}, 2, 1, 4); math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %v, want %v", c.path, got, want)
		}
	}
}

// decoded is what Decode says of a model that edit has changed.
func decoded(t *testing.T, m *Model, edit func(*Model)) error {
	t.Helper()
	var good bytes.Buffer
	if err := m.Write(&good); err != nil {
		t.Fatal(err)
	}
	again, err := Decode(bytes.NewReader(good.Bytes()), int64(good.Len()))
	if err != nil {
		t.Fatal(err)
	}
	edit(again)
	var b bytes.Buffer
	if err := again.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, err = Decode(bytes.NewReader(b.Bytes()), int64(b.Len()))
	return err
}

// Both sides of what a checkpoint's codec may be.
func TestCodecBothSides(t *testing.T) {
	m, err := Fit(context.Background(), Config{Hidden: 2, Updates: 1, Window: 8, Batch: 1, Regimes: 2}, backend(t), []telemetry.Recording{rich(1, 120, true)}, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	column := func(k *codec, of kind) int {
		for j, c := range k.Columns {
			if c.Kind == of {
				return j
			}
		}
		t.Fatalf("no column of kind %s", of)
		return 0
	}
	for name, edit := range map[string]func(k *codec){
		"as it is": func(*codec) {}, "a load that lasts 1 s": func(k *codec) { k.Load.Lasts[0] = []int{1, 1 << 30} }, "a regime that never ends": func(k *codec) { k.Load.Lasts[0] = nil },
		"a limit of 1": func(k *codec) { k.Limits[0][0] = 1 }, "equal limits": func(k *codec) { k.Limits[0][1] = k.Limits[0][0] }, "no deviation": func(k *codec) { k.Columns[0].SD = 0 },
		"follows wholly": func(k *codec) { k.Heads[len(k.Heads)-1].Follow = -1.01 }, "one value": func(k *codec) { k.Columns[0].Lo = k.Columns[0].Hi },
		"a follower of none": func(k *codec) { k.Heads[0].Given, k.Heads[0].Follow = nil, 0 },
	} {
		if err := decoded(t, m, func(m *Model) { edit(m.codec) }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, edit := range map[string]func(k *codec){
		"no columns": func(k *codec) { k.Columns = nil }, "no heads": func(k *codec) { k.Heads = nil }, "more columns": func(k *codec) { k.Columns = slices.Repeat(k.Columns, 500) },
		"more heads": func(k *codec) { k.Heads = slices.Repeat(k.Heads, 1000) },
		"switches":   func(k *codec) { k.Switches = 0 }, "more switches": func(k *codec) { k.Switches = 65 }, "a limit's switch": func(k *codec) { k.Limits = k.Limits[:1] },
		"buffer below": func(k *codec) { k.Buffer = -2 }, "buffer above": func(k *codec) { k.Buffer = len(k.Columns) }, "levels below": func(k *codec) { k.Levels = -1 }, "levels above": func(k *codec) { k.Levels = 65 },
		"no knots": func(k *codec) { k.Knots = nil }, "falling knots": func(k *codec) { slices.Reverse(k.Knots) },
		"full of no buffer": func(k *codec) { k.Buffer = -1 }, "full of other levels": func(k *codec) { k.Full = k.Full[1:] },
		"no limits": func(k *codec) { k.Limits[0] = nil }, "a limit of 0": func(k *codec) { k.Limits[1][0] = 0 }, "falling limits": func(k *codec) { slices.Reverse(k.Limits[0]) },
		"no load": func(k *codec) { k.Load = nil }, "no regime": func(k *codec) { k.Load.K = 0 }, "17 regimes": func(k *codec) { *k.Load = load{K: 17, Follows: make([]float64, 289), Lasts: make([][]int, 17)} },
		"follows": func(k *codec) { k.Load.Follows = k.Load.Follows[1:] }, "lasts": func(k *codec) { k.Load.Lasts = k.Load.Lasts[1:] },
		"lasts 0 s": func(k *codec) { k.Load.Lasts[1] = []int{0, 4} }, "lasts too long": func(k *codec) { k.Load.Lasts[1] = []int{4, 1<<30 + 1} }, "lasts unsorted": func(k *codec) { k.Load.Lasts[1] = []int{5, 4} },
		"head below": func(k *codec) { k.Columns[0].Head = -2 }, "head above": func(k *codec) { k.Columns[0].Head = len(k.Heads) }, "deviation": func(k *codec) { k.Columns[0].SD = -1 },
		"range": func(k *codec) { k.Columns[0].Lo = k.Columns[0].Hi + 1 }, "switch below": func(k *codec) { k.Columns[0].Switch = -2 },
		"levels of a column": func(k *codec) { c := &k.Columns[column(k, qualityKind)]; c.Levels = c.Levels[1:] },
		"beside nothing":     func(k *codec) { k.Columns[column(k, besideKind)].Switch = 5 }, "per nothing": func(k *codec) { k.Columns[column(k, perKind)].Switch = 5 },
		"kind": func(k *codec) { k.Columns[0].Kind = "x" }, "column below": func(k *codec) { k.Heads[0].Column = -1 }, "column above": func(k *codec) { k.Heads[1].Column = len(k.Columns) },
		"follows too much": func(k *codec) { k.Heads[len(k.Heads)-1].Follow = 1.02 }, "follows no head": func(k *codec) { k.Heads[0].Given, k.Heads[0].Follow = nil, .5 },
		"no bins": func(k *codec) { k.Heads[1].Bins = nil },
	} {
		k := *m.codec
		text, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		var c codec
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		if edit(&c); c.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// What belongs to the file: moments that recordings begin with, and the network.
	for name, edit := range map[string]func(m *Model){
		"no starts": func(m *Model) { m.starts = [][]byte{{}} },
		"a class": func(m *Model) {
			b := m.starts[0]
			copy(b[4+5*len(m.codec.Columns):], []byte{255, 255, 0, 0})
		},
		"a regime":          func(m *Model) { b := m.starts[0]; b[len(b)-20] = 2 },
		"the regime before": func(m *Model) { b := m.starts[0]; b[len(b)-16] = 2 },
		"the regime ahead":  func(m *Model) { b := m.starts[0]; b[len(b)-12] = 2 },
		"not a number":      func(m *Model) { copy(m.starts[0][4:], []byte{0, 0, 0xc0, 0x7f}) },
	} {
		if err := decoded(t, m, edit); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// What a simulator refuses, and says.
func TestSimulatorRefuses(t *testing.T) {
	m, err := Fit(context.Background(), Config{Hidden: 2, Updates: 1, Window: 8, Batch: 1, Clock: 100}, backend(t), []telemetry.Recording{rich(1, 120, false)}, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSimulator(0, m, backend(t)); err == nil || !strings.Contains(err.Error(), "0 simulations") {
		t.Errorf("no rows: %v", err)
	}
	s, err := NewSimulator(2, m, backend(t))
	if err != nil {
		t.Fatal(err)
	}
	if lo, hi := s.Limits(); lo != 32 || hi != 128 || s.Num() != 2 || s.Switches() != 1 || s.Ladder().Rungs() != m.codec.Levels || len(s.Columns()) != 10 {
		t.Errorf("limits %d…%d, %d rows, %d switches, %d levels", lo, hi, s.Num(), s.Switches(), s.Ladder().Rungs())
	}
	for second, want := range map[int]string{-2: "no second -2", -1: "", 0: "", 99: "", 100: "no second 100, it turns in 100"} {
		if err := s.ResetAt([]int{0}, []uint64{1}, second); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("second %d: %v, want %q", second, err, want)
		}
	}
	if err := s.Reset([]int{0}, []uint64{1, 2}); err == nil || !strings.Contains(err.Error(), "2 seeds for 1 rows") {
		t.Errorf("two seeds: %v", err)
	}
	var w telemetry.Window
	for _, c := range []struct {
		rows, fields int
		limits       []int32
		want         string
	}{
		{1, 10, []int32{32}, ""}, {1, 10, []int32{128}, ""}, {1, 10, []int32{31}, "limit 31: 32…128"}, {1, 10, []int32{129}, "limit 129: 32…128"},
		{2, 10, []int32{32}, "1 limits and a window of 2×10 for 1 rows"}, {1, 9, []int32{32}, "window of 1×9"}, {1, 10, []int32{32, 32}, "2 limits"}, {1, 10, nil, "0 limits"},
	} {
		w.Size(c.rows, 1, c.fields)
		if err := s.Step(context.Background(), []int{0}, c.limits, &w); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	w.Size(1, 1, 10)
	if err := s.Step(ended, []int{0}, []int32{32}, &w); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}
