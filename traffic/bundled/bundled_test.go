package bundled

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/ngram"
	"github.com/planegym/planegym/traffic/store"
	"github.com/planegym/planegym/traffic/traffictest"
)

func TestContract(t *testing.T) {
	traffictest.Check(t, func(t *testing.T) traffic.Model {
		m, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		return m
	})
}

func TestNotice(t *testing.T) {
	for _, name := range []string{"CESNET", "BSD 3-Clause License", "Copyright (c) 2018, CESNET", "netFound", "NetSSM", "nPrint", "Apache"} {
		if !strings.Contains(Notice, name) {
			t.Errorf("the notice does not name %q", name)
		}
	}
}

// source is the sessions that the model is made of.
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

// The model is what its data and NOTICE's two commands make.
func TestMadeOfItsData(t *testing.T) {
	all := source(t)
	m, err := ngram.Fit(context.Background(), all, ngram.Config{})
	if err != nil {
		t.Fatal(err)
	}
	own, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := errors.Join(m.Write(&a, nil), own.(*ngram.Model).Write(&b, nil)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("fitted anew it is %d other bytes, not the %d bundled", a.Len(), b.Len())
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
