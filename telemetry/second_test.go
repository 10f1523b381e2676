package telemetry_test

import (
	"testing"

	"github.com/planegym/planegym/telemetry"
)

// TestPostcards: where each switch reports on its own, no probe says anything
// of all of them, and the default aggregation has every switch none the less.
func TestPostcards(t *testing.T) {
	const head = "timestamp,enq_qdepth1,deq_timedelta1,deq_qdepth1,enq_qdepth2,deq_timedelta2,deq_qdepth2\n"
	for _, c := range []struct{ name, probes, want string }{
		{"postcards", "1700000000.1,1,50,,,,\n1700000000.2,,,,2,60,\n1700000000.3,7,90,,,,\n1700000000.4,,,,8,40,\n", " 7 90 - 2 60 -\n"},
		{"of a path and postcards: the path counts", "1700000000.1,1,50,1,2,20,2\n1700000000.2,,,,9,99,9\n", " 1 50 1 2 20 2\n"},
		{"depths alone: the deepest", "1700000000.1,3,,,,,\n1700000000.2,5,,,,,\n1700000000.3,4,,,2,,\n", " 5 - - 2 - -\n"},
		{"a delay before none", "1700000000.1,9,,,,,\n1700000000.2,5,10,,1,1,\n", " 5 10 - 1 1 -\n"},
		{"the first of equals", "1700000000.1,9,10,1,,,\n1700000000.2,5,10,2,1,1,1\n", " 9 10 1 1 1 1\n"},
	} {
		d, err := telemetry.Join(stringReader(t, telemetry.INT, head+c.probes), nil, telemetry.MaxTimedelta1)
		if err != nil || table(d) != c.want {
			t.Errorf("%s: %v\n%swant\n%s", c.name, err, table(d), c.want)
		}
	}
}

// TestOrigin: the grid begins with the first record, however many follow
// within its second, and keeps the length of the log.
func TestOrigin(t *testing.T) {
	for _, c := range []struct {
		every  int64 // ms
		of     int   // of so many records, those that come
		gap    int
		length int
	}{
		{100, 600, 0, 61}, {400, 150, 0, 61}, {1000, 60, 0, 60}, {2500, 24, 0, 59}, {400, 150, 50, 61}, {1000, 60, 20, 60},
	} {
		text, at := dashHead, int64(1700000000300)
		var last int64
		for i := range c.of {
			if c.gap == 0 || i < c.gap || i >= 2*c.gap {
				last = at + int64(i)*c.every
				text += itoa(last) + ";4;18;639;426x240;" + itoa(int64(i)*c.every*650/1000) + "\n"
			}
		}
		d, err := telemetry.Join(nil, stringReader(t, telemetry.DASH, text), telemetry.Max)
		if err != nil {
			t.Fatal(err)
		}
		if want := int((last-at+500)/1000) + 1; d.Len() != want || want < c.length-1 || d.Start().UnixMilli() != at {
			t.Errorf("every %d ms, gap %d: %d s from %v; want %d", c.every, c.gap, d.Len(), d.Start(), want)
		}
		rate := d.Column("calc_rate")
		for s := 1; s < d.Len(); s++ {
			if v, ok := d.At(s, rate); ok && (v < 250 || v > 1000) {
				t.Errorf("every %d ms, gap %d: the counter rises by %v in second %d, and 650 is its pace but for where samples fall", c.every, c.gap, v, s)
			}
		}
	}
}
