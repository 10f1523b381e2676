package telemetry_test

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

func decodeGrid(t *testing.T, text string) *telemetry.Dataset {
	t.Helper()
	d, err := telemetry.DecodeGrid(strings.NewReader(text), "f")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// realCells are the lines of a file of the real recordings, by column, read
// with nothing of this package.
func realCells(t *testing.T, name string) map[string][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(data(t), name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	cells := map[string][]string{}
	for _, row := range rows[1:] {
		for i, c := range row {
			cells[rows[0][i]] = append(cells[rows[0][i]], c)
		}
	}
	return cells
}

// sameCells compares a column of d with cells of a file, "" being a gap.
func sameCells(t *testing.T, d *telemetry.Dataset, name string, cells []string) {
	t.Helper()
	c := d.Column(name)
	if c < 0 || d.Len() != len(cells) {
		t.Fatalf("column %s is %d; %d seconds, want %d", name, c, d.Len(), len(cells))
	}
	for i, cell := range cells {
		want, err := strconv.ParseFloat(cell, 32)
		got, ok := d.At(i, c)
		if ok != (err == nil) || ok && got != float32(want) {
			t.Fatalf("%s at %d s: %v, %v; the file says %q", name, i, got, ok, cell)
		}
	}
}

var published = []string{
	"enq_qdepth1", "deq_timedelta1", "deq_qdepth1", "enq_qdepth2", "deq_timedelta2", "deq_qdepth2",
	"enq_qdepth3", "deq_timedelta3", "deq_qdepth3", "lbo_s", "fps", "rep_kbps", "calc_rate", "width", "height",
}

func TestOpenFolderReal(t *testing.T) {
	recs, err := telemetry.OpenFolder(data(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(recs) != 2 || recs[0].Limit != 32 || recs[1].Limit != 64 {
		t.Fatalf("%+v, want limits 32 and 64", recs)
	}
	for _, r := range recs {
		cells := realCells(t, "aligned_"+strconv.Itoa(r.Limit)+".csv")
		if r.Data.Len() != 3600 || r.Data.Limit() != r.Limit || names(r.Data.Fields()) != strings.Join(published, " ") {
			t.Fatalf("%d s under %d of %v", r.Data.Len(), r.Data.Limit(), r.Data.Fields())
		}
		for _, name := range published {
			sameCells(t, r.Data, name, cells[name])
		}
		counter, _ := r.Data.Counter()
		for i, c := range counter {
			if want, _ := strconv.ParseFloat(cells["calc_cum"][i], 64); c != want {
				t.Fatalf("limit %d: counter at %d s: %v, want %v", r.Limit, i, c, want)
			}
		}
		if ms, _ := strconv.ParseInt(cells["ts_ms"][0], 10, 64); !r.Data.Start().Equal(time.UnixMilli(ms)) {
			t.Errorf("start %v, want %d", r.Data.Start(), ms)
		}
		var b strings.Builder
		if err := r.Data.EncodeCSV(&b); err != nil {
			t.Fatal(err)
		}
		if again := decodeGrid(t, b.String()); again.Hash() != r.Data.Hash() {
			t.Errorf("limit %d: written and read again it is another", r.Limit)
		}
	}
}

// TestOpenFolderPublished: the published files alone, without a grid, are
// placed on the way in.
func TestOpenFolderPublished(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"real_32.csv", "dash_TD-32_100.csv", "real_64.csv", "dash_TD-64_100.csv"} {
		if err := os.Symlink(filepath.Join(data(t), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	recs, err := telemetry.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	aligned, err := telemetry.ReadGrid(filepath.Join(data(t), "aligned_64.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if len(recs) != 2 || recs[0].Limit != 32 || recs[1].Data.Hash() != aligned.Hash() {
		t.Errorf("%+v; the second is not aligned_64", recs)
	}
}

func TestDatasetFill(t *testing.T) {
	// Column lbo_s is never measured in the first two seconds: they hold the
	// median of 5, 7, 9. Column stall_s never is.
	d := decodeGrid(t, "t,ts_ms,lbo_s,fps,stall_s\n0,0,,30,\n1,1000,,,\n2,2000,9,,\n3,3000,,18,\n4,4000,5,,\n5,5000,7,,\n")
	values, valid := make([]float32, 18), make([]bool, 18)
	d.Copy(0, values, valid)
	if want := []float32{7, 30, 0, 7, 30, 0, 9, 30, 0, 9, 18, 0, 5, 18, 0, 7, 18, 0}; !slices.Equal(values, want) {
		t.Errorf("values %v\nwant   %v", values, want)
	}
	want := make([]bool, 18)
	for _, i := range []int{1, 6, 10, 12, 15} {
		want[i] = true
	}
	if !slices.Equal(valid, want) {
		t.Errorf("valid %v", valid)
	}
	if allocs := testing.AllocsPerRun(10, func() { d.Copy(2, values[:6], valid[:6]) }); allocs != 0 {
		t.Errorf("Copy allocates %v times", allocs)
	}
	if values[0] != 9 || values[3] != 9 {
		t.Errorf("from second 2: %v", values[:6])
	}
}

// TestDatasetFillKeepsTestBlocks has a first value that is measured in a test
// block, which must not leak into earlier seconds.
func TestDatasetFillKeepsTestBlocks(t *testing.T) {
	const n = 401
	values, valid := make([]float32, n), make([]bool, n)
	values[350], valid[350] = 100, true
	values[400], valid[400] = 3, true
	d, err := telemetry.NewDataset([]telemetry.Field{{Name: "lbo_s", Unit: "s"}}, 32, time.UnixMilli(0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := d.At(0, 0); ok || v != 3 {
		t.Errorf("filled with %v, %v; the train median is 3", v, ok)
	}
}

func TestDatasetErrors(t *testing.T) {
	lbo := []telemetry.Field{{Name: "lbo_s", Unit: "s"}}
	nan := float32(math.NaN())
	for _, c := range []struct {
		fields []telemetry.Field
		limit  int
		values []float32
		valid  []bool
		want   string
	}{
		{nil, 0, []float32{1}, []bool{true}, "1 values and 1 flags for 0 fields"},
		{lbo, 0, nil, nil, "0 values and 0 flags for 1 fields"},
		{lbo, 0, []float32{1}, []bool{true, true}, "1 values and 2 flags for 1 fields"},
		{lbo, -1, []float32{1}, []bool{true}, "limit: -1 packets is negative"},
		{append(lbo, lbo...), 0, []float32{1, 1}, []bool{true, true}, `field 1: "lbo_s" is empty or named twice`},
		{lbo, 0, []float32{1, nan}, []bool{true, true}, "second 1: lbo_s is NaN: want a finite number"},
	} {
		if _, err := telemetry.NewDataset(c.fields, c.limit, time.Time{}, c.values, c.valid); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	d, err := telemetry.NewDataset(lbo, 0, time.UnixMilli(0), []float32{nan, 2}, []bool{false, true})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := d.At(0, 0); v != 2 {
		t.Errorf("NaN where nothing was measured became %v, want 2", v)
	}
}

func TestDatasetNeverChanges(t *testing.T) {
	values, valid := []float32{1, 2}, []bool{true, true}
	fields := []telemetry.Field{{Name: "lbo_s", Unit: "s"}}
	d, err := telemetry.NewDataset(fields, 32, time.UnixMilli(0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	values[0], valid[0], fields[0].Name = 9, false, "x"
	d.Fields()[0].Name = "y"
	if v, ok := d.At(0, 0); v != 1 || !ok || d.Column("lbo_s") != 0 {
		t.Errorf("%v, %v, fields %v", v, ok, d.Fields())
	}
}

func TestDatasetHash(t *testing.T) {
	lbo := telemetry.Field{Name: "lbo_s", Unit: "s"}
	one := func(f telemetry.Field, limit int, ms int64, v float32, ok bool) string {
		d, err := telemetry.NewDataset([]telemetry.Field{f}, limit, time.UnixMilli(ms), []float32{v, 1}, []bool{ok, true})
		if err != nil {
			t.Fatal(err)
		}
		return d.Hash()
	}
	base := one(lbo, 32, 5, 7, true)
	if again := one(lbo, 32, 5, 7, true); again != base {
		t.Errorf("%s, again %s", base, again)
	}
	for what, other := range map[string]string{
		"name":  one(telemetry.Field{Name: "lbo", Unit: "s"}, 32, 5, 7, true),
		"unit":  one(telemetry.Field{Name: "lbo_s", Unit: "ms"}, 32, 5, 7, true),
		"limit": one(lbo, 64, 5, 7, true),
		"start": one(lbo, 32, 6, 7, true),
		"value": one(lbo, 32, 5, 8, true),
		"gap":   one(lbo, 32, 5, 7, false),
	} {
		if other == base {
			t.Errorf("another %s, the same hash", what)
		}
	}
	if one(lbo, 32, 5, 7, false) != one(lbo, 32, 5, 8, false) {
		t.Error("a value that was not measured changes the hash")
	}
}

func TestGridErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no lines", gridHead, `f:1: "": want at least one line after the header`},
		{"no columns", "t,ts_ms,queue\n0,0,32\n", `f:1: "": want columns of a switch or a player`},
		{"rate is not the difference", "t,ts_ms,calc_cum,calc_rate\n0,0,66,66\n1,1000,70,5\n", `f:3: calc_rate: "5": want 4, the difference of calc_cum`},
	} {
		if _, err := telemetry.DecodeGrid(strings.NewReader(c.text), "f"); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

// TestCounter: whole numbers come back exactly, whether a recording starts
// with its counter or later, and across a gap.
func TestCounter(t *testing.T) {
	for _, c := range []struct {
		name, text string
		rates      []float32
		counter    []float64
	}{
		{"from 0", "t,ts_ms,calc_cum\n0,0,0\n1,1000,464\n2,2000,464\n", []float32{0, 464, 0}, []float64{0, 464, 464}},
		{"from the middle", "t,ts_ms,calc_cum,calc_rate\n0,0,900000000066,66\n1,1000,900000000464,398\n", []float32{66, 398}, []float64{900000000066, 900000000464}},
		{"gap", "t,ts_ms,calc_cum\n0,0,66\n1,1000,\n2,2000,468\n", []float32{201, 201, 201}, []float64{66, 66, 468}},
		{"began anew", "t,ts_ms,calc_cum\n0,0,66\n1,1000,67\n2,2000,5\n3,3000,9\n", []float32{2.5, 1, 1, 4}, []float64{66, 67, 5, 9}},
	} {
		d := decodeGrid(t, c.text)
		var rates []float32
		for i := range d.Len() {
			v, _ := d.At(i, d.Column("calc_rate"))
			rates = append(rates, v)
		}
		if got, _ := d.Counter(); !slices.Equal(rates, c.rates) || !slices.Equal(got, c.counter) {
			t.Errorf("%s: rates %v, counter %v; want %v, %v", c.name, rates, got, c.rates, c.counter)
		}
		var b strings.Builder
		if err := d.EncodeCSV(&b); err != nil {
			t.Fatal(err)
		}
		if again := decodeGrid(t, b.String()); again.Hash() != d.Hash() {
			t.Errorf("%s: written and read again it is another:\n%s", c.name, b.String())
		}
	}
}

// TestCounterOfFractions: rates that are not whole numbers, as a model makes
// them, are stored exactly, too.
func TestCounterOfFractions(t *testing.T) {
	const n = 5000
	rate, _ := telemetry.Canonical("calc_rate")
	values, valid := make([]float32, n), make([]bool, n)
	draw := rng.Key{Seed: 2}
	for i := range values {
		values[i], valid[i] = float32(1000*draw.Float64(uint32(2*i))), draw.Float64(uint32(2*i+1)) < .9
	}
	d, err := telemetry.NewDataset([]telemetry.Field{rate}, 32, time.UnixMilli(0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := d.EncodeCSV(&b); err != nil {
		t.Fatal(err)
	}
	if again := decodeGrid(t, b.String()); again.Hash() != d.Hash() {
		t.Error("written and read again it is another")
	}
}

func TestWriteCSV(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "grid_32.csv")
	text := "t,ts_ms,queue,enq_qdepth1,lbo_s,int_present\n0,1694912784759,32,,3.977,0\n1,1694912785761,32,4,,1\n"
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := decodeGrid(t, text).WriteCSV(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Errorf("%q, %v\nwant %q", got, err, text)
	}
	other, err := telemetry.NewDataset([]telemetry.Field{{Name: "other"}, {Name: "lbo_s", Unit: "s"}}, 0, time.UnixMilli(0), []float32{1, 2}, []bool{true, true})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.WriteCSV(path); err == nil || !strings.Contains(err.Error(), `no column "other"`) {
		t.Errorf("a column that cannot be read again: %v", err)
	}
	negative, err := telemetry.NewDataset([]telemetry.Field{{Name: "lbo_s", Unit: "s"}}, 0, time.UnixMilli(0), []float32{1, -2}, []bool{true, true})
	if err != nil {
		t.Fatal(err)
	}
	if err := negative.WriteCSV(path); err == nil || !strings.Contains(err.Error(), "second 1: lbo_s is -2") {
		t.Errorf("a value that cannot be read again: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if got, _ := os.ReadFile(path); err != nil || len(entries) != 1 || string(got) != text {
		t.Errorf("after a failed write: %v, %q, %v", entries, got, err)
	}
	if err := decodeGrid(t, text).WriteCSV(filepath.Join(dir, "none", "x.csv")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("wrote into a folder that is not there")
	}
}

// TestPlainCSV: columns that are none of a testbed's are written as they are,
// negative values and all.
func TestPlainCSV(t *testing.T) {
	d, err := telemetry.NewDataset([]telemetry.Field{{Name: "Open"}, {Name: "a,b"}}, 1, time.UnixMilli(0), []float32{1.5, -2, 0, 4e6}, []bool{true, true, false, true})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := d.EncodeCSV(&b); err != nil || b.String() != "t,Open,\"a,b\"\n0,1.5,-2\n1,,4000000\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestOpenFolder(t *testing.T) {
	const (
		grid = "t,ts_ms,queue,lbo_s\n0,0,32,3\n"
		rows = rowsHead + "1,2,3,7.064,3312,30,464\n"
		dash = dashHead + "1694912784759;3.977;30;3312;1280x720;66\n1694912785761;7.064;30;3312;1280x720;464\n"
	)
	for _, c := range []struct {
		name   string
		files  map[string]string
		limits []int
		err    string
	}{
		{"sorted by limit", map[string]string{"aligned_100.csv": strings.ReplaceAll(grid, "32", "100"), "grid_64.csv": "t,ts_ms,lbo_s\n0,0,3\n", "aligned_32.csv": grid}, []int{32, 64, 100}, ""},
		{"grid before aligned", map[string]string{"aligned_32.csv": "broken", "grid_32.csv": grid, "real_32.csv": "broken"}, []int{32}, ""},
		{"published files", map[string]string{"real_32.csv": rows, "dash_TD-32_100.csv": dash, "dash_32.csv": "broken"}, []int{32}, ""},
		{"renamed player log", map[string]string{"real_32.csv": rows, "dash_32.csv": dash, "real_64.csv": "no log beside it"}, []int{32}, ""},
		{"rows of another hour", map[string]string{"real_32.csv": rows + "1,2,3,9,3312,30,464\n", "dash_32.csv": dash}, nil, "real_32.csv:3: no player record has lbo_s 9"},
		{"another limit", map[string]string{"grid_64.csv": grid}, nil, `grid_64.csv: queue: "32": want the 64 of the file's name`},
		{"other fields", map[string]string{"grid_32.csv": grid, "grid_64.csv": "t,ts_ms,fps\n0,0,30\n"}, nil, "limits 32 and 64 have different fields"},
		{"nothing", map[string]string{"grid_0.csv": grid, "grid_32.txt": grid, "dash_TD-32_100.csv": dash}, nil, "looked for grid_<limit>.csv, aligned_<limit>.csv, and real_<limit>.csv beside dash_TD-<limit>_*.csv"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			recs, err := telemetry.OpenFolder(dir)
			var limits []int
			for _, r := range recs {
				limits = append(limits, r.Limit)
				if r.Data.Limit() != r.Limit {
					t.Errorf("limit %d, its data %d", r.Limit, r.Data.Limit())
				}
			}
			if !slices.Equal(limits, c.limits) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("limits %v, %v; want %v, %q", limits, err, c.limits, c.err)
			}
		})
	}
	if _, err := telemetry.OpenFolder(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
