package doppelganger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

// Every session with steps is in the part of one chunk, that of its start, and
// chunks have the classes of all sessions.
func TestPartsAreTheTrace(t *testing.T) {
	set := sessions(150)
	set.Sessions[7].Steps = nil
	set.Sessions[8].Start = 45
	shares, err := Shares(set, 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range Modes {
		c := tiny(mode)
		var codecs []string
		seen, records := map[float64]int{}, 0
		for chunk := range 5 {
			k, err := newCodec(c.withDefaults(), set)
			if err != nil {
				t.Fatal(err)
			}
			part, err := k.part(set, chunk)
			if err != nil {
				t.Fatal(err)
			}
			if chunk > 0 {
				account := k.encode(part, 10).account
				if x := shares[chunk-1]; x.Sessions != account.Sessions || x.Records != account.Records || x.Sessions != part.Len() || x.Chunk != chunk || x.To != float64(chunk)*k.Span {
					t.Errorf("%s: chunk %d has %+v, its share is %+v", mode, chunk, account, x)
				}
				records += account.Records
				for _, s := range part.Sessions {
					seen[s.Start]++ // starts are unique
					if s.Start < float64(chunk-1)*k.Span || s.Start >= float64(chunk)*k.Span {
						t.Errorf("%s: a session of %v s is in chunk %d of %v s each", mode, s.Start, chunk, k.Span)
					}
				}
			}
			k.Labels, k.Starts = nil, nil
			b, err := json.Marshal(k)
			if err != nil {
				t.Fatal(err)
			}
			codecs = append(codecs, string(b))
		}
		want := 0
		for i := range set.Sessions {
			want += set.Of.Len(&set.Sessions[i])
		}
		if len(seen) != 149 || records != want {
			t.Errorf("%s: chunks have %d sessions of 149, %d records of %d", mode, len(seen), records, want)
		}
		for start, n := range seen {
			if n != 1 {
				t.Errorf("%s: the session of %v s is in %d chunks", mode, start, n)
			}
		}
		if n := len(slices.Compact(codecs)); n != 1 {
			t.Errorf("%s: chunks have %d sets of classes", mode, n)
		}
	}
	for what, c := range map[string]Config{"no session starts in chunk 2 of 4": {Chunk: 2, Chunks: 4}, "same time": {Chunk: 1}, "chunk: 5 is outside": {Chunk: 5, Chunks: 4}} {
		few := &traffic.Set{Of: set.Of, Sessions: []traffic.Session{set.Sessions[0], set.Sessions[0]}}
		if what != "same time" {
			few.Sessions[1].Start = 100
		}
		if _, err := Fit(t.Context(), few, c, traffic.FitOptions{}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v does not say %q", err, what)
		}
	}
}

// Sessions of a chunk's model start in the chunk, as many as training has, and more
// in the chunk of the next trace; models of different chunks draw different sessions.
func TestStartsOfAChunk(t *testing.T) {
	set := sessions(150)
	for _, mode := range Modes {
		var drawn []*traffic.Set
		for _, c := range []int{1, 2} {
			m := fitted(t, chunk(mode, c), traffic.FitOptions{})
			k := m.codec
			n := 0
			for _, s := range set.Sessions {
				if k.chunk(s.Start) == c-1 {
					n++
				}
			}
			if m.Account.Sessions != n || m.Account.Others != 150-n {
				t.Errorf("%s: chunk %d: account %+v of %d sessions", mode, c, m.Account, n)
			}
			d, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 3 * n, Seed: 5}))
			if err != nil {
				t.Fatal(err)
			}
			last := 0.
			for i, s := range d.Sessions {
				if chunk, trace := k.chunk(s.Start), int(s.Start/(4*k.Span)); chunk != c-1 || trace != i/n || s.Start < last {
					t.Fatalf("%s: session %d of a model of %d starts at %v s: chunk %d, trace %d", mode, i, n, s.Start, chunk+1, trace)
				}
				last = s.Start
			}
			drawn = append(drawn, d)
		}
		same := 0
		for i := range 40 {
			if slices.Equal(drawn[0].Sessions[i].Meta, drawn[1].Sessions[i].Meta) {
				same++
			}
		}
		if same > 20 {
			t.Errorf("%s: %d of 40 sessions of two chunks are alike", mode, same)
		}
	}
}

func chunk(mode string, k int) Config {
	c := tiny(mode)
	c.Chunk = k
	return c
}

// A fit that begins with another's model gives equal bytes on one thread and two and
// when it was stopped, with the critics still alone or later, and resumed.
func TestBegin(t *testing.T) {
	for _, mode := range Modes {
		first := fitted(t, chunk(mode, 1), traffic.FitOptions{Seed: 3})
		o := traffic.FitOptions{Seed: 3, From: first, Threads: 1}
		second := fitted(t, chunk(mode, 2), o)
		want := encoded(t, second)
		o.Threads = 2
		if got := encoded(t, fitted(t, chunk(mode, 2), o)); !bytes.Equal(got, want) {
			t.Errorf("%s: two threads give other bytes than one", mode)
		}
		if got := encoded(t, fitted(t, chunk(mode, 2), traffic.FitOptions{Seed: 3})); bytes.Equal(got, want) {
			t.Errorf("%s: the model to begin with changes nothing", mode)
		}
		if len(second.Strange) > 0 || second.Parent == "" || len(second.Notes()) != 1 || !strings.Contains(second.Notes()[0], "chunk 2 of 4") {
			t.Errorf("%s: strange %v, notes %q", mode, second.Strange, second.Notes())
		}
		for _, stop := range []int{2, 15} {
			o := traffic.FitOptions{Seed: 3, From: first, Path: filepath.Join(t.TempDir(), "m.safetensors")}
			ctx, cancel := context.WithCancel(t.Context())
			o.Report = func(p traffic.Progress) {
				if p.Done == stop {
					cancel()
				}
			}
			if _, err := Fit(ctx, sessions(150), chunk(mode, 2), o); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			o.Report, o.Resume, o.From = nil, true, second
			if _, err := Fit(t.Context(), sessions(150), chunk(mode, 2), o); !errors.Is(err, ErrResume) || !strings.Contains(err.Error(), "begin with") {
				t.Errorf("%s: resumed from a fit that began with another model: %v", mode, err)
			}
			o.From = nil // the checkpoint has all
			if got := encoded(t, fitted(t, chunk(mode, 2), o)); !bytes.Equal(got, want) {
				t.Errorf("%s: resumed after %d updates, the bytes differ", mode, stop)
			}
		}
	}
}

// A fit whose updates move nothing has the weights that it began with, but for the
// biases that calibration shifts.
func TestBeginsWithWeights(t *testing.T) {
	for _, mode := range Modes {
		first := fitted(t, tiny(mode), traffic.FitOptions{Seed: 3})
		c := first.Tuning()
		if c.Updates != 6 {
			t.Errorf("%s: %d updates of a fit that begins with one of 24", mode, c.Updates)
		}
		c.Rate = 1e-12
		second := fitted(t, c, traffic.FitOptions{Seed: 4, From: first})
		fresh := fitted(t, c, traffic.FitOptions{Seed: 4})
		near := func(m *Model) bool {
			weights := func(m *Model) []safetensors.Tensor {
				if m.lm != nil {
					return m.lm.tensors()
				}
				return m.nets.tensors("")
			}
			for _, a := range weights(first) {
				for _, b := range weights(m) {
					x, y := a.Data.([]float32), b.Data.([]float32)
					if a.Name != b.Name || len(a.Shape) < 2 {
						continue
					}
					for i := range x {
						if math.Abs(float64(x[i]-y[i])) > 1e-6 {
							return false
						}
					}
				}
			}
			return true
		}
		if !near(second) || near(fresh) {
			t.Errorf("%s: weights are those that it began with: %v; of one that began anew: %v", mode, near(second), near(fresh))
		}
	}
}

func TestBeginIsRefused(t *testing.T) {
	for _, o := range []traffic.FitOptions{{}, {From: &Model{}}} {
		c := Config{Epsilon: 8, Delta: 1e-5}
		if o.From == nil {
			c.Chunk = 1
		}
		if _, err := Fit(t.Context(), sessions(150), c, o); err == nil || !strings.Contains(err.Error(), "a private fit begins with no model") {
			t.Errorf("a private fit: %v", err)
		}
	}
	for _, mode := range Modes {
		first := fitted(t, tiny(mode), traffic.FitOptions{})
		unfinished := *first
		unfinished.Updates--
		other := sessions(150)
		other.Of.Meta[2].Name = "port"
		labels := sessions(150)
		labels.Of.Labels = []string{"query", "bulk", "video"}
		for what, f := range map[string]func(c *Config, o *traffic.FitOptions, set **traffic.Set){
			"hidden: its weights are of 8, not 9":       func(c *Config, _ *traffic.FitOptions, _ **traffic.Set) { c.Hidden++ },
			"chunks: its weights are of 4, not 5":       func(c *Config, _ *traffic.FitOptions, _ **traffic.Set) { c.Chunks++ },
			"bins: its weights":                         func(c *Config, _ *traffic.FitOptions, _ **traffic.Set) { c.Bins = 9 },
			"mode: its is":                              func(c *Config, _ *traffic.FitOptions, _ **traffic.Set) { c.Mode = Modes[1-slices.Index(Modes, mode)] },
			"meta: field 2 is port, not server_port":    func(_ *Config, _ *traffic.FitOptions, set **traffic.Set) { *set = other },
			`["query" "bulk" "video"], not ["query" "b`: func(_ *Config, _ *traffic.FitOptions, set **traffic.Set) { *set = labels },
			"23 of its 24 updates are done":             func(_ *Config, o *traffic.FitOptions, _ **traffic.Set) { o.From = &unfinished },
			"another kind":                              func(_ *Config, o *traffic.FitOptions, _ **traffic.Set) { o.From = struct{ traffic.Model }{} },
		} {
			c, o, set := tiny(mode), traffic.FitOptions{From: first}, sessions(150)
			f(&c, &o, &set)
			if _, err := Fit(t.Context(), set, c, o); !errors.Is(err, ErrFrom) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: error %v does not say %q", mode, err, what)
			}
		}
	}
}

// Values that the classes of the model do not have are counted by field, and are the
// nearest ones.
func TestStrangeValues(t *testing.T) {
	for mode, want := range map[string]string{Adversarial: "client 3/60, range of gap 1/60, smallest size 1/60", Likelihood: "client 3/60, gap 1/62, size 1/62"} {
		first := fitted(t, tiny(mode), traffic.FitOptions{})
		set := sessions(60)
		for i := range set.Sessions {
			set.Sessions[i].Label, set.Sessions[i].Meta, set.Sessions[i].Steps = 0, []float64{0, 1, 53}, []float64{0, 60, 0}
		}
		for i := range 3 {
			set.Sessions[i].Meta[1] = float64(1000 + i)
		}
		set.Sessions[4].Steps[1] = 1 << 30
		set.Sessions[5].Steps = []float64{0, 60, 0, 1e6, 60, 0, 0, 60, 0}
		c := first.Tuning()
		m, err := Fit(t.Context(), set, c, traffic.FitOptions{From: first})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range m.Strange {
			got = append(got, s.Field+" "+strconv.Itoa(s.Values)+"/"+strconv.Itoa(s.Of))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, not %q", mode, strings.Join(got, ", "), want)
		}
		if n := m.Notes(); len(n) != len(m.Strange) || !strings.Contains(n[0], "client: 3 of 60 values") {
			t.Errorf("%s: notes %q", mode, n)
		}
		again, err := Parse(encoded(t, m))
		if err != nil || !slices.Equal(again.Strange, m.Strange) || again.Parent != m.Parent {
			t.Errorf("%s: read back: %v, %v", mode, again.Strange, err)
		}
	}
}

// Sessions that a chunk's share counts as later are those whose model tags later chunks.
func TestLaterSessions(t *testing.T) {
	set := sessions(150)
	shares, err := Shares(set, 4)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newCodec(tiny(Adversarial).withDefaults(), set)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]int, 4)
	for i, a := range k.encode(set, 10).attributes {
		tags := a[k.tags : k.tags+4]
		if start := k.chunk(set.Sessions[i].Start); slices.Contains(tags[start+1:], 1) {
			want[start]++
		}
	}
	for i, x := range shares {
		if x.Later != want[i] {
			t.Errorf("chunk %d: %d sessions are later, %d have tags of later chunks", x.Chunk, x.Later, want[i])
		}
	}
	if want[0] == 0 {
		t.Error("no session spans chunks")
	}
	at := &traffic.Set{Of: set.Of, Sessions: set.Sessions[:1]}
	if one, err := Shares(at, 4); err != nil || len(one) != 1 || one[0].Sessions != 1 || one[0].Later != 0 {
		t.Errorf("shares of one session: %+v, %v", one, err)
	}
}
