package bundled

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/ngram"
	"github.com/planegym/planegym/traffic/store"
	"github.com/planegym/planegym/traffic/traffictest"
)

func TestContract(t *testing.T) {
	for name, open := range map[string]func() (traffic.Model, error){"learned": Open, "counts": OpenCounts} {
		t.Run(name, func(t *testing.T) {
			traffictest.Check(t, func(t *testing.T) traffic.Model {
				m, err := open()
				if err != nil {
					t.Fatal(err)
				}
				return m
			})
		})
	}
}

// The learned model is small enough to come with every binary.
func TestSize(t *testing.T) {
	if n := len(learned); n > 1_500_000 {
		t.Errorf("%d bytes", n)
	}
}

// The pool is small, has every label, and its sessions are as the model's, drawn
// anew: as long in the mean, of the same protocols, and gaps of its grid.
func TestPool(t *testing.T) {
	if n := len(drawn); n > 500_000 {
		t.Errorf("%d bytes", n)
	}
	pool, err := Pool()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if !pool.Of.Equal(m.Schema()) {
		t.Fatal("the pool has another schema than the model")
	}
	count := make([]int, len(pool.Of.Labels))
	r := traffic.Request{N: pool.Len(), Seed: 99}
	gap := pool.Of.StepIndex("gap")
	steps := func(s *traffic.Session) float64 { return math.Log1p(float64(pool.Of.Len(s))) }
	var all, tcp []float64
	for i := range pool.Sessions {
		s := &pool.Sessions[i]
		count[s.Label]++
		r.Labels = append(r.Labels, s.Label)
		all, tcp = append(all, steps(s)), append(tcp, s.Meta[flows.Protocol])
		for k := range pool.Of.Len(s) {
			x := pool.Of.Step(s, k)[gap]
			if e := 16 * math.Log10(x); x > 1e-4 && math.Abs(math.Pow(10, math.Round(e)/16)-x) > 1e-6 {
				t.Fatalf("session %d: a gap of %v is not of the grid", i, x)
			}
		}
	}
	for l, n := range count {
		if want := map[bool]int{true: 384, false: 64}[pool.Of.Labels[l] == "port443"]; n != want {
			t.Errorf("%d sessions of %s, not %d", n, pool.Of.Labels[l], want)
		}
	}
	i := 0
	var lengths, protocols float64 // differences, pool less fresh
	for s, err := range m.Sample(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		lengths += (all[i] - steps(&s)) / float64(pool.Len())
		protocols += (tcp[i] - s.Meta[flows.Protocol]) / float64(pool.Len())
		i++
	}
	t.Logf("the pool less fresh sessions: %.3f of the logarithm of steps, %.3f of protocols", lengths, protocols)
	if math.Abs(lengths) > .1 || math.Abs(protocols) > .05 {
		t.Errorf("the pool's sessions differ from the model's by %.3f in the logarithm of steps, %.3f in protocols", lengths, protocols)
	}
}

func TestNotice(t *testing.T) {
	for _, name := range []string{"CESNET", "BSD 3-Clause License", "Copyright (c) 2018, CESNET", "netFound", "NetSSM", "nPrint", "Apache"} {
		if !strings.Contains(Notice, name) {
			t.Errorf("the notice does not name %q", name)
		}
	}
}

// source is the sessions that the models are made of.
func source(t *testing.T) *traffic.Set {
	t.Helper()
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: the data of the bundled model are not here")
	}
	f, err := os.Open(filepath.Join(dir, "traffic", "siot.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*traffic.Set{}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".json") {
			if files[h.Name], _, err = flows.ReadSIoT(r, h.Name); err != nil {
				t.Fatal(err)
			}
			names = append(names, h.Name)
		}
	}
	slices.Sort(names)
	var sets []*traffic.Set
	for _, n := range names {
		sets = append(sets, files[n])
	}
	captures, err := filepath.Glob(filepath.Join(dir, "traffic", "captures", "*.pcap"))
	if err != nil || len(captures) != 7 {
		t.Fatal(captures, err)
	}
	for _, path := range captures {
		s, _, err := flows.ReadFile(path, flows.Options{Label: strings.TrimSuffix(filepath.Base(path), ".pcap")})
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, s)
	}
	all, err := traffic.Merge(1, sets...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The models are of their data: the n-gram fitted anew is the same, the learned
// one names their hash.
func TestMadeOfItsData(t *testing.T) {
	all := source(t)
	m, err := ngram.Fit(context.Background(), all, ngram.Config{})
	if err != nil {
		t.Fatal(err)
	}
	own, err := OpenCounts()
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := errors.Join(m.Write(&a, nil), own.(*ngram.Model).Write(&b, nil)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("fitted anew the n-gram is %d other bytes, not the %d bundled", a.Len(), b.Len())
	}
	hash, err := traffic.Hash(all)
	if err != nil {
		t.Fatal(err)
	}
	open, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	learned := open.(*autoregressive.Model)
	if learned.Data != hash {
		t.Errorf("the learned model is of data %s, these are %s", learned.Data, hash)
	}
	checkRare(t, learned, all)
}

// checkRare reads the file for what may not be in it: sizes and ports that
// fewer than three packets or sessions have, addresses as text.
func checkRare(t *testing.T, m *autoregressive.Model, all *traffic.Set) {
	f, err := safetensors.New(bytes.NewReader(learned), int64(len(learned)))
	if err != nil {
		t.Fatal(err)
	}
	var settings struct {
		Codec struct {
			Steps, Meta []struct {
				Name       string
				Field      int
				Vocabulary *struct{ Exact []int64 }
			}
		}
	}
	text := f.Metadata["model"]
	if err := json.Unmarshal([]byte(text), &settings); err != nil {
		t.Fatal(err)
	}
	if loc := regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`).FindString(text); loc != "" {
		t.Errorf("the file holds an address: %s", loc)
	}
	sizes, ports := map[int64]int{}, map[int64]int{}
	size, port := m.Schema().StepIndex("size"), m.Schema().MetaIndex("server_port")
	for i := range all.Sessions {
		x := &all.Sessions[i]
		ports[int64(x.Meta[port])]++
		for k := range all.Of.Len(x) {
			step := all.Of.Step(x, k)
			v := int64(step[size]) + 1 // signed by direction
			if step[0] == 1 {
				v = -v
			}
			sizes[v]++
		}
	}
	checked := 0
	for _, c := range append(settings.Codec.Steps, settings.Codec.Meta...) {
		of := map[string]map[int64]int{"size": sizes, "server_port": ports}[c.Name]
		if of == nil {
			continue
		}
		if c.Vocabulary == nil || len(c.Vocabulary.Exact) == 0 {
			t.Fatalf("%s has no exact values", c.Name)
		}
		for _, v := range c.Vocabulary.Exact {
			checked++
			if of[v] < 3 {
				t.Errorf("%s %d is in the file; training has it %d times", c.Name, v, of[v])
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d values were checked", checked)
	}
}

// Sessions that are reset come not less often out of the compiler than they are
// in the data: a capture of legal packets is not made by leaving the awkward
// ones out. The sample's share may be below the data's by its own noise.
func TestResets(t *testing.T) {
	all := source(t)
	m, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	share := func(s *traffic.Set) (share, actions float64) {
		r, err := flows.NewReader(&s.Of)
		if err != nil {
			t.Fatal(err)
		}
		n := 0.
		for i := range s.Sessions {
			had := false
			for k := range r.Len(&s.Sessions[i]) {
				if r.At(&s.Sessions[i], k).Flags == flows.Reset {
					had = true
					actions++
				}
			}
			if had {
				n++
			}
		}
		return n / float64(s.Len()), actions
	}
	const n = 10_000
	sampled, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: n, Seed: 1}))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := share(all)
	got, asked := share(sampled)
	var made bytes.Buffer
	r, err := compile.Write(t.Context(), &made, &sampled.Of, store.All(sampled), compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := flows.Read(&made, "compiled", flows.Options{Span: 1 << 62, Idle: 1 << 62})
	if err != nil {
		t.Fatal(err)
	}
	compiled, _ := share(back)
	t.Logf("sessions with a reset: %.2f %% of the data, %.2f %% sampled, %.2f %% compiled; %d of %.0f resets were sent", 100*want, 100*got, 100*compiled, r.Resets, asked)
	if noise := 3 * math.Sqrt(want*(1-want)/n); compiled < want-noise || r.Resets < int(asked) {
		t.Errorf("%.2f %% of compiled sessions are reset, %.2f %% of the data's", 100*compiled, 100*want)
	}
}
