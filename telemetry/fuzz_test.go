package telemetry_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/planegym/planegym/telemetry"
)

// seeds adds text with what files suffer from.
func seeds(f *testing.F, text string) {
	f.Add(text)
	f.Add("\ufeff" + strings.ReplaceAll(text, "\n", "\r\n"))
	f.Add(text[:len(text)/2])
	f.Add(text + text)
	f.Add(text[:len(text)-3])
	f.Add(strings.ReplaceAll(strings.ReplaceAll(text, "1700000", "2023-11-14T22:13:"), "00;", "Z;"))
	for _, r := range [][2]string{{",", ";"}, {";", ","}, {"1", "NaN"}, {"1", "-1"}, {"1", "1e308"}, {"1", "0x1p-1074"}, {"1", ""}, {"1", "\"1\""}, {"x", ""}, {"\n", "\n\n"},
		// Times in seconds and far ahead, words for no value, tabs, a header twice, a cut.
		{"000000", ""}, {"1700", "4100"}, {"4", "undefined"}, {"0", "18446744073709551"}, {";", "\t"}, {"18;", "-1;"}} {
		f.Add(strings.ReplaceAll(text, r[0], r[1]))
	}
}

// fuzzReader reads text in a format: every error is a ValueError that names
// the file, every record is finite, not negative and in order of time.
func fuzzReader(t *testing.T, format telemetry.Format, text string) {
	check := func(err error) {
		var bad *telemetry.ValueError
		if err != nil && (!errors.As(err, &bad) || bad.File != "f" || bad.Want == "") {
			t.Fatalf("%v", err)
		}
	}
	r, err := telemetry.NewReader(strings.NewReader(text), "f", format)
	if err != nil {
		check(err)
		return
	}
	var rec telemetry.Record
	last := int64(0)
	for r.Read(&rec) == nil {
		if rec.Millis < last || len(rec.Values) != len(r.Fields()) || len(rec.Valid) != len(rec.Values) {
			t.Fatalf("%+v after %d ms", rec, last)
		}
		last = rec.Millis
		for i, v := range rec.Values {
			if !(v >= 0 && v <= math.MaxFloat32) || !rec.Valid[i] && v != 0 {
				t.Fatalf("%+v", rec)
			}
		}
	}
	r, _ = telemetry.NewReader(strings.NewReader(text), "f", format)
	_, err = readAll(r)
	check(err)
}

func FuzzINT(f *testing.F) {
	seeds(f, joinINT)
	f.Fuzz(func(t *testing.T, text string) {
		fuzzReader(t, telemetry.INT, text)
		open := func() *telemetry.Reader {
			r, _ := telemetry.NewReader(strings.NewReader(text), "f", telemetry.INT)
			return r
		}
		if open() == nil {
			return
		}
		rows, err := telemetry.Tutorial(open(), nil)
		if err == nil && (len(rows.Seconds) == 0 || len(rows.Values) != len(rows.Seconds)*len(rows.Fields)) {
			t.Fatalf("%d seconds, %d values", len(rows.Seconds), len(rows.Values))
		}
	})
}

func FuzzDASH(f *testing.F) {
	seeds(f, joinDASH)
	seeds(f, importDash)
	f.Fuzz(func(t *testing.T, text string) { fuzzReader(t, telemetry.DASH, text) })
}

func FuzzMerged(f *testing.F) {
	seeds(f, rowsHead+importRow(1, 4, 10)+importRow(2, 0, 20)+importRow(3, 0, 20)+importRow(4, 4, 10))
	f.Fuzz(func(t *testing.T, text string) {
		fuzzReader(t, telemetry.Merged, text)
		rows, err := telemetry.NewReader(strings.NewReader(text), "f", telemetry.Merged)
		if err != nil {
			return
		}
		d, rep, err := telemetry.Import(stringReader(t, telemetry.DASH, importDash), 32, rows)
		if err == nil && (d.Len() != 6 || rep.Rows != rep.Placed+rep.Repeated+len(rep.Unplaced) || rep.Placed > 6) {
			t.Fatalf("%d s, %+v", d.Len(), rep)
		}
	})
}

// FuzzGrid: what can be read can be written and is then read as the same.
func FuzzGrid(f *testing.F) {
	seeds(f, gridHead+"0,1000,32,,,,3.977,30,3312,66,66,1280,720,0\n1,2002,32,0,9,1,,,,,,,,1\n2,3002,32,0,9,1,7.5,18,639,70,4,426,240,1\n")
	f.Fuzz(func(t *testing.T, text string) {
		fuzzReader(t, telemetry.Grid, text)
		d, err := telemetry.DecodeGrid(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		for s := range d.Len() {
			for c := range d.Fields() {
				if v, _ := d.At(s, c); !(math.Abs(float64(v)) <= math.MaxFloat32) {
					t.Fatalf("%v at %d, %d", v, s, c)
				}
			}
		}
		var b strings.Builder
		if err := d.EncodeCSV(&b); err != nil {
			t.Fatal(err)
		}
		again, err := telemetry.DecodeGrid(strings.NewReader(b.String()), "f")
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		if c := d.Column("calc_rate"); c < 0 && again.Hash() != d.Hash() {
			t.Fatalf("read as another:\n%s", b.String())
		}
	})
}

func FuzzScalerJSON(f *testing.F) {
	f.Add(`[{"name":"lbo_s","unit":"s","steps":[{"kind":"log1p"},{"kind":"minmax","low":0.1,"high":4}]},{"name":"fps","steps":[{"kind":"quantile","values":[18,30],"ranks":[0.25,1]}]}]`)
	f.Add(`[{"name":"x","steps":[{"kind":"quantile","values":[],"ranks":[]}]}]`)
	f.Fuzz(func(t *testing.T, text string) {
		var s telemetry.Scaler
		if json.Unmarshal([]byte(text), &s) != nil {
			return
		}
		for c := range s.Fields() {
			s.Inverse(c, s.Forward(c, 1))
		}
		b, err := json.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		var again telemetry.Scaler
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
	})
}
