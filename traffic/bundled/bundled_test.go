package bundled

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/ngram"
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

// The model is what its data and NOTICE's two commands make.
func TestMadeOfItsData(t *testing.T) {
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
