package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic/netflow"
)

// small is a table of 60 records in 40 sessions.
func small(t *testing.T) (path string, records []netflow.Record) {
	t.Helper()
	text := "srcip,dstip,srcport,dstport,proto,ts,td,pkt,byt,type\n"
	for i := range 60 {
		k := i % 40
		text += fmt.Sprintf("%d,10.0.0.%d,%d,%d,%s,%d,%g,%d,%d,background\n", 3627282195+k%7, k%5, 1000+k, 53+k%3, []string{"TCP", "UDP"}[k%2], 5000000+i*997, float64(i%4)/8, 1+i%9, 60+i*31)
	}
	path = filepath.Join(t.TempDir(), "flows.csv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	records, err := readRecords(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, records
}

// A written half, read as a row of somebody's, has every figure of that half.
func TestHalfAsRow(t *testing.T) {
	path, records := small(t)
	folder := filepath.Join(t.TempDir(), "halves")
	if err := writeHalves(path, records, 3, 2, folder); err != nil {
		t.Fatal(err)
	}
	f := files{}
	if err := f.add("copy=" + filepath.Join(folder, "half-3.csv") + "," + filepath.Join(folder, "half-4.csv")); err != nil {
		t.Fatal(err)
	}
	set := netflow.Sessions(records)
	rows, err := f.read(records, set.Of, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range rows["copy"] {
		train, held := halves(set, uint64(3+i))
		j := newJudge(train, held, uint64(3+i))
		want, have := j.figures(train), j.figures(got)
		if have["copy"] != 1 || want["SP"] == 0 {
			t.Errorf("split %d: copy %v, SP %v", 3+i, have["copy"], want["SP"])
		}
		for _, name := range figureNames {
			if fmt.Sprintf("%.9f", have[name]) != fmt.Sprintf("%.9f", want[name]) {
				t.Errorf("split %d: %s is %v, of the half itself %v", 3+i, name, have[name], want[name])
			}
		}
	}
}

func TestRanks(t *testing.T) {
	a := func(text ...string) (v []netip.Addr) {
		for _, x := range text {
			v = append(v, netip.MustParseAddr(x))
		}
		return v
	}
	got := ranks(a("10.0.0.1", "10.0.0.2", "10.0.0.3"), a("10.9.9.1", "10.0.0.2", "10.9.9.2", "10.9.9.3"))
	want := map[netip.Addr]float64{}
	for i, x := range a("10.9.9.1", "10.0.0.2", "10.9.9.2", "10.9.9.3") {
		want[x] = float64(i)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRowFaults(t *testing.T) {
	path, records := small(t)
	of := netflow.Sessions(records).Of
	write := func(name string, change *strings.Replacer) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(p, []byte(change.Replace(string(b))), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct{ row, want string }{
		{"x", "not NAME=FILE"}, {"=a", "not NAME=FILE"}, {"x=", "not NAME=FILE"},
		{"x=" + path + "," + path, "-row x: 2 files for 1 splits"},
		{"x=" + filepath.Join(t.TempDir(), "none.csv"), "-row x: open"},
		{"x=" + write("gre.csv", strings.NewReplacer("TCP", "GRE")), `protocol "GRE" is not one of ["TCP" "UDP"]`},
		{"x=" + write("type.csv", strings.NewReplacer("background", "attack")), `type "attack" is not one of ["background"]`},
		{"x=" + write("bad.csv", strings.NewReplacer("10.0.0.3", "there")), "bad.csv: line 5: dstip"},
	} {
		f := files{}
		err := f.add(c.row)
		if err == nil {
			_, err = f.read(records, of, 1)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.row, err, c.want)
		}
	}
	f := files{}
	if err := f.add("x=a"); err != nil || f.add("x=b") == nil {
		t.Error("two rows of one name")
	}
	// Records without a type are measured too: no figure is of the type.
	if err := f.add("y=" + write("untyped.csv", strings.NewReplacer(",type", "", ",background", ""))); err != nil {
		t.Fatal(err)
	}
	delete(f, "x")
	if sets, err := f.read(records, of, 1); err != nil || len(flat(sets["y"][0])) != 60 {
		t.Errorf("%v, %v", sets, err)
	}
}
