package testbed_test

import (
	"bytes"
	"context"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
)

var began = time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC)

// logged is a minute of which the limit changes after the half.
func logged(t testing.TB) (*testbed.Testbed, *testbed.Log) {
	t.Helper()
	p := open(t, testbed.Config{})
	l := p.Keep(1)
	var w telemetry.Window
	w.Size(1, 30, len(p.Columns()))
	ctx := context.Background()
	if err := p.Reset(ctx, []int{1}, []uint64{4}, []p4.Limit{64, 64, 64}, &w); err != nil {
		t.Fatal(err)
	}
	first := slices.Clone(w.Values)
	if err := p.Advance(ctx, []int{1}, []p4.Limit{32, 64, 16}, &w); err != nil {
		t.Fatal(err)
	}
	if l.Seconds() != 60 || !slices.Equal(l.Values, append(first, w.Values...)) || l.Limits[29*3] != 64 || l.Limits[30*3] != 32 || l.Limit() != 0 {
		t.Fatalf("%d seconds, limits %v, one limit %d", l.Seconds(), l.Limits, l.Limit())
	}
	return p, l
}

func reader(t *testing.T, f telemetry.Format, write func(io.Writer) error) *telemetry.Reader {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	r, err := telemetry.NewReader(&b, "log.csv", f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Our readers of published logs give back what the plant measured.
func TestLogsAreReadAsPublished(t *testing.T) {
	p, l := logged(t)
	probes := reader(t, telemetry.INT, func(w io.Writer) error { return l.WriteINT(w, began) })
	player := reader(t, telemetry.DASH, func(w io.Writer) error { return l.WriteDASH(w, began) })
	d, err := telemetry.Join(probes, player, telemetry.MaxTimedelta1)
	if err != nil {
		t.Fatal(err)
	}
	if d.Len() != 60 {
		t.Fatalf("%d seconds", d.Len())
	}
	for c, f := range p.Columns() {
		at := d.Column(f.Name)
		if at < 0 {
			t.Fatalf("no column %s", f.Name)
		}
		counter := 0.
		for sec := range 60 {
			i := sec*len(p.Columns()) + c
			want, off := float64(l.Values[i]), .0006
			got, ok := d.At(sec, at)
			if f.Name == "calc_rate" {
				counter += want
				off = 1.01 // two roundings of the counter
			}
			if f.Name == "calc_rate" && sec == 0 { // a counter's first value is no rise
				if ok {
					t.Errorf("second 0: the counter rises by %v", got)
				}
				continue
			}
			if ok != l.Valid[i] || ok && math.Abs(float64(got)-want) > off {
				t.Errorf("second %d: %s is %v (%v), measured %v (%v)", sec, f.Name, got, ok, want, l.Valid[i])
			}
		}
		if got, _ := d.Counter(); f.Name == "calc_rate" && math.Abs(got[59]-counter) > 1 {
			t.Errorf("the counter ends at %v, want %v", got[59], counter)
		}
	}
	rows := reader(t, telemetry.Merged, func(w io.Writer) error { return l.WriteRows(w) })
	player = reader(t, telemetry.DASH, func(w io.Writer) error { return l.WriteDASH(w, began) })
	placed, report, err := telemetry.Import(player, 64, rows)
	if err != nil || len(report.Unplaced) > 0 || placed.Len() != 60 {
		t.Errorf("import: %v, %+v", err, report)
	}
	whole, err := l.Dataset(began)
	if err != nil || whole.Len() != 60 || !slices.Equal(whole.Fields(), p.Columns()) {
		t.Errorf("dataset: %v", err)
	}
}

func TestPcap(t *testing.T) {
	_, l := logged(t)
	var b bytes.Buffer
	if err := l.WritePcap(&b, began); err != nil {
		t.Fatal(err)
	}
	r, err := pcap.NewReader(&b, "probes.pcap")
	if err != nil {
		t.Fatal(err)
	}
	d, err := intreport.NewDecoder(intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := (pcap.Packet{}); ; n++ {
		if err := r.Next(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !p.Time.Equal(began.Truncate(time.Second).Add(time.Duration(l.Probes[n].Arrived))) {
			t.Fatalf("probe %d arrived at %v", n, p.Time)
		}
		err := d.Frame(p.Data, func(r *intreport.Report) {
			for k, h := range r.Hops {
				q, _ := h.Queueing()
				want := l.Hops[3*n+k]
				if h.Switch != uint32(k+1) || q != [3]float64{float64(want.EnqDepth), float64(want.Timedelta), float64(want.DeqDepth)} || h.IngressTime/1000 != uint64(want.Enqueued/1000) {
					t.Fatalf("probe %d, hop %d: %+v, want %+v", n, k, h, want)
				}
			}
			if len(r.Hops) != 3 {
				t.Fatalf("probe %d: %d hops", n, len(r.Hops))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != len(l.Probes) || n < 300 {
		t.Errorf("%d probes in the capture, %d arrived", n, len(l.Probes))
	}
}
