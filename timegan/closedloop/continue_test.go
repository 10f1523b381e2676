package closedloop

import (
	"slices"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// What a model has read of a recording before it continues it is what the windows of
// training and fitTurning have it read: the encoded seconds, one by one.
func TestContinueReadsWhatTrainingReads(t *testing.T) {
	data := toys(3, 400, 20, true)
	m := fit(t, Config{Hidden: 8, Updates: 20, Window: 32, Batch: 4}, data, FitOptions{})
	k := m.codec
	_, regimes := inferLoad(k, data, k.Load.K)
	const from = 300
	s, err := NewSimulator(2, m, backend(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.follow(data[0], regimes[0][:from+1]); err != nil {
		t.Fatal(err)
	}
	track := k.encode(data[0], regimes[0])
	d, e := k.numbersIn(), len(k.heads)
	sampler := m.net.NewSampler(backend(t), 1)
	for at := 1; at < from; at++ {
		if slices.Contains(track.turns, at) {
			sampler.Reset(nil)
		}
		sampler.Step(nil, track.tokens[at*e:][:e], track.x[at*d:][:d])
	}
	want, got := make([]float32, sampler.Size()), make([]float32, sampler.Size())
	sampler.State(0, want)
	for row := range 2 {
		s.sampler.State(row, got)
		if !slices.Equal(got, want) {
			t.Errorf("row %d has read something else", row)
		}
	}
	x, tokens, limits := make([]float32, d), make([]int32, e), make([]int32, k.Switches)
	data[0].LimitsAt(from, limits)
	k.enter(&s.rows[1].moment, regimes[0], from)
	k.input(&s.rows[1].moment, limits, from, false, x, tokens)
	if !slices.Equal(x, track.x[from*d:][:d]) || !slices.Equal(tokens, track.tokens[from*e:][:e]) {
		t.Errorf("the input of second %d is\n%v %v, in training\n%v %v", from, x, tokens, track.x[from*d:][:d], track.tokens[from*e:][:e])
	}
}

// Continued under another limit than was in force, the buffer of the toy goes where
// that limit takes it in that load; equal seeds draw alike.
func TestContinueUnderAnotherLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a model")
	}
	data := toys(6, 1000, 40, false)
	m := fit(t, small, data, FitOptions{})
	k := m.codec
	const from, seconds, n = 900, 20, 16
	gain := map[[2]int][]float64{} // by load and limit: mean change of the buffer a second
	for limit := range 2 {
		var other []telemetry.Recording
		for _, r := range data {
			other = append(other, under(t, r, from, []int{32, 128}[limit]))
		}
		at := slices.Repeat([]int{from}, len(other))
		drawn, err := m.Continue(backend(t), other, at, n, 7)
		if err != nil {
			t.Fatal(err)
		}
		again, err := m.Continue(backend(t), other, at, n, 7)
		if err != nil || !slices.EqualFunc(drawn, again, slices.Equal) {
			t.Fatalf("equal seeds draw other seconds (%v)", err)
		}
		f, steps := len(k.Columns), data[0].Data.Len()-from
		for i, x := range drawn {
			if len(x) != n*steps*f {
				t.Fatalf("recording %d: %d values", i, len(x))
			}
			depth, _ := data[i].Data.At(from-1, 0)
			load := 0
			if float64(depth) > .5*float64(data[i].LimitAt(from-1)) {
				load = 1
			}
			start, _ := data[i].Data.At(from-1, 2)
			for j := range n {
				end := x[(j*steps+seconds-1)*f+2]
				gain[[2]int{load, limit}] = append(gain[[2]int{load, limit}], float64(end-start)/seconds)
			}
		}
	}
	for load := range 2 {
		a, b := average(gain[[2]int{load, 0}]), average(gain[[2]int{load, 1}])
		if len(gain[[2]int{load, 0}]) == 0 {
			t.Fatalf("no recording is in load %d there", load)
		}
		if d := b - a; (load == 0) != (d > 0) || d > -.3 && d < .3 {
			t.Errorf("load %d: %+.2f s/s under limit 32, %+.2f under 128", load, a, b)
		}
	}
	if _, err := m.Continue(backend(t), data, []int{5}, 1, 0); err == nil {
		t.Error("one start is taken for six recordings")
	}
	if _, err := m.Continue(backend(t), data[:1], []int{1000}, 1, 0); err == nil {
		t.Error("a recording is continued after its end")
	}
}

// under is a toy under another limit from a second on: the queue holds the same share.
func under(t *testing.T, r telemetry.Recording, from, limit int) telemetry.Recording {
	t.Helper()
	f := len(r.Data.Fields())
	values, valid := make([]float32, r.Data.Len()*f), make([]bool, r.Data.Len()*f)
	limits := slices.Clone(r.Limits)
	for s := range limits {
		r.Data.Copy(s, values[s*f:][:f], valid[s*f:][:f])
		if s >= from {
			values[s*f] *= float32(limit) / float32(limits[s])
			limits[s] = limit
		}
	}
	d, err := telemetry.NewDataset(r.Data.Fields(), 0, time.Unix(0, 0), values, valid)
	if err != nil {
		t.Fatal(err)
	}
	return telemetry.Recording{Data: d, Limits: limits}
}

func average(x []float64) float64 {
	sum := 0.
	for _, v := range x {
		sum += v / float64(len(x))
	}
	return sum
}
