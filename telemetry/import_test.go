package telemetry_test

import (
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/planegym/planegym/telemetry"
)

// TestImportReal places the published rows of both hours on the published
// player logs: every row finds its second, and every line of merged_* that
// comes from this file (in_models3) is reproduced in every column.
func TestImportReal(t *testing.T) {
	for _, limit := range []int{32, 64} {
		q := strconv.Itoa(limit)
		d, rep, err := telemetry.Import(openReader(t, "dash_TD-"+q+"_100.csv", telemetry.DASH), limit, openReader(t, "real_"+q+".csv", telemetry.Merged))
		if err != nil {
			t.Fatal(err)
		}
		merged := realCells(t, "merged_"+q+".csv")
		path := filepath.Join(t.TempDir(), "grid.csv")
		if err := d.WriteCSV(path); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := d.EncodeCSV(&b); err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		head, lines := lines[0], lines[1:]
		present := slices.Index(head, "int_present")
		left := 0
		for _, l := range lines {
			if l[present] == "1" {
				left++
			}
		}
		want, columns := 0, 0
		for i, from := range merged["in_models3"] {
			if from != "1" {
				continue
			}
			want++
			second, _ := strconv.Atoi(merged["t"][i])
			columns = 0
			for c, name := range head {
				cells, ok := merged[name]
				if !ok {
					continue
				}
				columns++
				a, err := strconv.ParseFloat(lines[second][c], 64)
				b, _ := strconv.ParseFloat(cells[i], 64)
				if err != nil || a != b {
					t.Fatalf("limit %d, %d s: %s is %q, merged_%s.csv says %q", limit, second, name, lines[second][c], q, cells[i])
				}
			}
		}
		if columns != 19 || len(lines) != 3600 || left != want || rep.Rows != want || rep.Placed != want || len(rep.Unplaced) != 0 {
			t.Errorf("limit %d: %d columns, %d seconds, %d with INT of %d, %+v", limit, columns, len(lines), left, want, rep)
		}
		aligned, err := telemetry.ReadGrid(filepath.Join(data(t), "aligned_"+q+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		// aligned_64 holds nothing beyond real_64; aligned_32 has 46 rows more.
		if same := aligned.Hash() == d.Hash(); same != (limit == 64) {
			t.Errorf("limit %d: equal to aligned: %v", limit, same)
		}
	}
}

const importDash = dashHead +
	"1700000001000;4;18;639;426x240;10\n" +
	"1700000002000;3;18;639;426x240;10\n" +
	"1700000003000;0;18;639;426x240;20\n" +
	"1700000004000;0;18;639;426x240;20\n" + // as the record before
	"1700000005000;0;18;639;426x240;20\n" +
	"1700000006000;4;18;639;426x240;30\n"

// published row i with player columns of a record
func importRow(i int, lbo, cum int) string {
	return fmt.Sprintf("%d,%d,%d,%d,639,18,%d\n", i, i, i, lbo, cum)
}

func TestImport(t *testing.T) {
	for _, c := range []struct {
		name     string
		files    []string
		want     []int // row number of each second, 0 for a gap
		placed   int
		repeated int
		unplaced []string
	}{
		{"each on its second", []string{importRow(1, 4, 10) + importRow(2, 4, 30)}, []int{1, 0, 0, 0, 0, 2}, 2, 0, nil},
		{"none", nil, []int{0, 0, 0, 0, 0, 0}, 0, 0, nil},
		{"repeated columns keep their order", []string{importRow(1, 3, 10) + importRow(2, 0, 20) + importRow(3, 0, 20) + importRow(4, 4, 30)}, []int{0, 1, 2, 3, 0, 4}, 4, 0, nil},
		{"as many as records repeat", []string{importRow(1, 0, 20) + importRow(2, 0, 20) + importRow(3, 0, 20)}, []int{0, 0, 1, 2, 3, 0}, 3, 0, nil},
		{"one more than records repeat", []string{importRow(1, 0, 20) + importRow(2, 0, 20) + importRow(3, 0, 20) + importRow(4, 0, 20)}, []int{0, 0, 1, 2, 3, 0}, 3, 0,
			[]string{"rows 0:5: every player record with lbo_s 0, fps 18, rep_kbps 639, calc_cum 20 is taken or out of order"}},
		{"a row out of order costs itself only", []string{importRow(1, 4, 30) + importRow(2, 4, 10) + importRow(3, 3, 10)}, []int{2, 3, 0, 0, 0, 0}, 2, 0,
			[]string{"rows 0:2: every player record with lbo_s 4, fps 18, rep_kbps 639, calc_cum 30 is taken or out of order"}},
		{"unknown rows", []string{importRow(1, 9, 10) + importRow(2, 4, 10) + importRow(3, 4, 11)}, []int{2, 0, 0, 0, 0, 0}, 1, 0,
			[]string{"rows 0:2: no player record has lbo_s 9, fps 18, rep_kbps 639, calc_cum 10", "rows 0:4: no player record has lbo_s 4, fps 18, rep_kbps 639, calc_cum 11"}},
		{"two files overlap", []string{importRow(1, 4, 10) + importRow(2, 3, 10), importRow(1, 4, 10) + importRow(5, 3, 10) + importRow(6, 4, 30)}, []int{1, 2, 0, 0, 0, 6}, 3, 1,
			[]string{"rows 1:3: second 1 holds other INT values already"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var rows []*telemetry.Reader
			for i, f := range c.files {
				r, err := telemetry.NewReader(strings.NewReader(rowsHead+f), fmt.Sprintf("rows %d", i), telemetry.Merged)
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, r)
			}
			d, rep, err := telemetry.Import(stringReader(t, telemetry.DASH, importDash), 32, rows...)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]int, d.Len())
			for s := range got {
				if len(rows) == 0 {
					continue
				}
				if v, ok := d.At(s, d.Column("deq_timedelta1")); ok {
					got[s] = int(v)
				}
			}
			var unplaced []string
			for _, u := range rep.Unplaced {
				unplaced = append(unplaced, u.String())
			}
			if !slices.Equal(got, c.want) || rep.Placed != c.placed || rep.Repeated != c.repeated || !slices.Equal(unplaced, c.unplaced) ||
				rep.Rows != rep.Placed+rep.Repeated+len(rep.Unplaced) {
				t.Errorf("rows %v, %+v\nwant %v, %d placed, %d repeated, %q", got, rep, c.want, c.placed, c.repeated, c.unplaced)
			}
		})
	}
}

func TestImportErrors(t *testing.T) {
	twoHops := strings.Replace(rowsHead, "Buffer", "enq_qdepth2,deq_timedelta2,deq_qdepth2,Buffer", 1)
	for _, c := range []struct {
		name, dash string
		rows       []string
		want       string
	}{
		{"no player record", dashHead, nil, `f:1: "": want at least one line after the header`},
		{"no row", importDash, []string{rowsHead}, `f:1: "": want at least one line after the header`},
		{"other hops", importDash, []string{rowsHead, twoHops}, `want the INT columns of f`},
		{"no row has a record", importDash, []string{rowsHead + importRow(1, 9, 10) + importRow(2, 9, 10)}, `none of 2 rows belongs to a second of f; the first: f:2: no player record has lbo_s 9`},
		{"clock jumps", dashHead + "1700000000001;4;18;639;426x240;10\n1700604800001;4;18;639;426x240;11\n1700604801001;4;18;639;426x240;11\n", nil, `f:4: timestamp: "1700604801001": want a time within an hour of the lines before, 2023-11-14 22:13:20.001: cut the log in two where it starts over`},
		{"bad row", importDash, []string{rowsHead + importRow(1, 4, 10) + "x\n"}, `f:3: "x": want 7 cells as in the header, not 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := func(f telemetry.Format, text string) *telemetry.Reader {
				r, err := telemetry.NewReader(strings.NewReader(text), "f", f)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			var rows []*telemetry.Reader
			for _, r := range c.rows {
				rows = append(rows, open(telemetry.Merged, r))
			}
			if _, _, err := telemetry.Import(open(telemetry.DASH, c.dash), 32, rows...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
	if _, _, err := telemetry.Import(stringReader(t, telemetry.DASH, importDash), 0); err == nil || !strings.Contains(err.Error(), "limit: 0 packets is less than 1") {
		t.Errorf("limit 0: %v", err)
	}
}
