package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
)

func recordInto(t *testing.T, dir string) *recorder {
	t.Helper()
	r := &recorder{dir: dir, most: telemetry.MaxRefused}
	s := scenarios.Scenario{Live: scenarios.Live{Switches: inventory.Inventory{{}}}}
	if err := r.open(&s); err != nil {
		t.Fatal(err)
	}
	return r
}

// fill records seconds whose counter begins at count.
func fill(r *recorder, from time.Time, seconds int, count float64) {
	ok := []bool{true, true, true, true, true, true, true}
	for i := range seconds {
		at := from.Add(time.Duration(i) * time.Second)
		r.report(at, []float64{5, 1000, 4}, ok[:3])
		r.sample(at, []float64{20, 30, 3312, count + float64(100*i), 1280, 720, 0}, ok)
	}
}

// Every line is in the file, under its name, before anything else happens: what
// a killed process recorded is there. The next run cuts a torn line off and
// goes on; the counter that began anew in between is no fall.
func TestRecordingSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	r := recordInto(t, dir)
	fill(r, r.begin, 10, 5000)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if n := strings.Count(read("int.csv"), "\n"); n != 11 {
		t.Fatalf("%d lines on disk of a header and ten reports", n)
	}
	// Another process keeps off.
	other := &recorder{dir: dir, most: telemetry.MaxRefused}
	s := scenarios.Scenario{Live: scenarios.Live{Switches: inventory.Inventory{{}}}}
	if err := other.open(&s); err == nil || !strings.Contains(err.Error(), "another process is writing it") {
		t.Errorf("two recorders of one log: %v", err)
	}
	_ = other.close()
	// Killed: nothing is closed in order, and the last line is half there.
	close(r.stop)
	r.syncing.Wait()
	r.int.f.Close()
	r.dash.f.Close()
	torn := read("int.csv")
	if err := os.WriteFile(filepath.Join(dir, "int.csv"), []byte(torn[:len(torn)-4]), 0o644); err != nil {
		t.Fatal(err)
	}
	r = recordInto(t, dir)
	if len(r.continued()) != 2 {
		t.Errorf("continued %v", r.continued())
	}
	fill(r, r.begin, 10, 0)
	if err := r.finish(nil); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(read("int.csv")), "\n")
	if len(lines) != 1+9+10 || strings.Count(read("int.csv"), "timestamp") != 1 {
		t.Errorf("%d lines after both runs", len(lines))
	}
	last := ""
	for _, l := range lines[1:] {
		stamp, _, _ := strings.Cut(l, ",")
		if stamp <= last {
			t.Errorf("%s after %s", stamp, last)
		}
		last = stamp
	}
	probes, done, err := openLog(filepath.Join(dir, "int.csv"), telemetry.INT)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	player, done, err := openLog(filepath.Join(dir, "dash.csv"), telemetry.DASH)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	joined, err := telemetry.Join(probes, player, telemetry.MaxTimedelta1)
	if err != nil {
		t.Fatal(err)
	}
	f := len(joined.Fields())
	values, valid := make([]float32, joined.Len()*f), make([]bool, joined.Len()*f)
	joined.Copy(0, values, valid)
	rises := 0
	for c, field := range joined.Fields() {
		if field.Name != "calc_rate" {
			continue
		}
		for i := range joined.Len() {
			if valid[i*f+c] {
				if rises++; values[i*f+c] != 100 {
					t.Errorf("second %d: a rise of %v", i, values[i*f+c])
				}
			}
		}
	}
	if rises < 16 {
		t.Errorf("%d rises of the counter", rises)
	}
	// A log of other columns is not written into.
	bad := &recorder{dir: dir, most: telemetry.MaxRefused}
	s.Live.Switches = append(s.Live.Switches, inventory.Switch{})
	if err := bad.open(&s); err == nil || !strings.Contains(err.Error(), "other columns") {
		t.Errorf("a log of one switch, continued by two: %v", err)
	}
	_ = bad.close()
}

func TestRecordBoundsWhatIsImpossible(t *testing.T) {
	for given, want := range map[float64]float64{0: telemetry.MaxRefused, -1: 0, .25: .25} {
		if got := (Record{MaxImpossible: given}).most(); got != want {
			t.Errorf("MaxImpossible %v: %v, want %v", given, got, want)
		}
	}
	r := &recorder{most: .25}
	some := []telemetry.Refused{{Column: "lbo_s", Count: 2, Of: 10, First: &telemetry.ValueError{}}}
	if err := (telemetry.Reading{Refused: some}).Check(r.most); err != nil {
		t.Errorf("a fifth of a column, where a quarter may be: %v", err)
	}
	if err := (telemetry.Reading{Refused: some}).Check((Record{}).most()); err == nil {
		t.Error("a fifth of a column is accepted by default")
	}
}
