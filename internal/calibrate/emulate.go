package calibrate

import (
	"bytes"
	"context"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/eval/selection"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/telemetry"
)

// compare emulates an hour under every limit and compares it.
func (s *Search) compare(ctx context.Context, cfg testbed.Config) (Fit, error) {
	type result struct {
		score   selection.Score
		removed Removed
		err     error
	}
	got := make([]result, len(s.limits))
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, limit := range s.limits {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r := &got[i]
			var synth selection.Table
			if synth, r.removed, r.err = s.emulate(ctx, cfg, limit); r.err == nil {
				r.score, r.err = selection.Compare(s.real[limit], synth, selection.Options{Draws: -1})
			}
		})
	}
	wait.Wait()
	var f Fit
	n := 0.
	for i, r := range got {
		if r.err != nil {
			return f, r.err
		}
		for _, x := range r.score.Features {
			f.Features = append(f.Features, Feature{s.limits[i], x.Name, x.KS, x.ACF})
			f.Loss, n = f.Loss+x.KS, n+1
		}
		f.Removed = append(f.Removed, r.removed)
	}
	f.Loss /= max(n, 1)
	for _, r := range f.Removed {
		f.Loss += math.Abs(r.Emulated-r.Recorded) / float64(len(f.Removed))
	}
	return f, nil
}

// emulate is an hour under a limit after the published preprocessing.
func (s *Search) emulate(ctx context.Context, cfg testbed.Config, limit int) (t selection.Table, share Removed, err error) {
	plant, err := testbed.New(cfg)
	if err != nil {
		return t, share, err
	}
	l := plant.Keep(0)
	var w telemetry.Window
	w.Size(1, s.Seconds, len(plant.Columns()))
	force := slices.Repeat([]p4.Limit{p4.Limit(limit)}, plant.Switches())
	if err := plant.Reset(ctx, []int{0}, []uint64{s.Seed}, force, &w); err != nil {
		return t, share, err
	}
	read := func(f telemetry.Format, name string, write func(io.Writer) error) (*telemetry.Reader, error) {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, err
		}
		return telemetry.NewReader(&b, name, f)
	}
	start := time.Unix(1704067200, 0) // as testbed record's
	probes, err := read(telemetry.INT, "probes", func(w io.Writer) error { return l.WriteINT(w, start) })
	if err != nil {
		return t, share, err
	}
	player, err := read(telemetry.DASH, "player", func(w io.Writer) error { return l.WriteDASH(w, start) })
	if err != nil {
		return t, share, err
	}
	rows, err := telemetry.Tutorial(probes, player)
	if err != nil {
		return t, share, err
	}
	for _, f := range rows.Fields {
		name := f.Name
		switch name {
		case "lbo_s":
			name = "Buffer"
		case "rep_kbps":
			name = "ReportedBitrate"
		case "fps":
			name = "FPS"
		case "calc_cum":
			name = "CalcBitrate"
		}
		t.Columns = append(t.Columns, name)
	}
	t.Values = rows.Values
	share = Removed{Limit: limit, Emulated: 1 - float64(t.Rows())/float64(s.Seconds), Recorded: 1 - float64(s.real[limit].Rows())/3600}
	f, at := len(plant.Columns()), slices.IndexFunc(plant.Columns(), func(f telemetry.Field) bool { return f.Name == "lbo_s" })
	for sec := 1; sec < s.Seconds; sec++ {
		switch d := float64(l.Values[sec*f+at] - l.Values[(sec-1)*f+at]); {
		case math.Abs(d+1) < .3:
			share.LBOFalls += 1 / float64(s.Seconds-1)
		case math.Abs(d-3) < .3:
			share.LBOArrive += 1 / float64(s.Seconds-1)
		}
	}
	return t, share, nil
}
