package closedloop

import (
	"bytes"
	"context"
	"math"
	"slices"
	"testing"

	"github.com/planegym/planegym/timegan"
)

var pairOf = Config{Hidden: 8, Updates: 6, Window: 32, Batch: 4, Seed: 3, Ensemble: 2}

// The members of an ensemble are the models of its seeds, and what it draws from is the
// mean of what each of them gives, in seconds in which the load changes too.
func TestEnsembleIsTheMeanOfItsMembers(t *testing.T) {
	data := toys(3, 400, 20, true)
	m := fit(t, pairOf, data, FitOptions{})
	if m.Members() != 2 || !m.Done() || m.Updates != 6 {
		t.Fatalf("%d members, done %v, %d updates", m.Members(), m.Done(), m.Updates)
	}
	var alone []*Model
	for i := range 2 {
		c := pairOf
		c.Seed, c.Ensemble = c.Seed+uint64(i), 0
		one := fit(t, c, data, FitOptions{})
		alone = append(alone, one)
		for j, want := range one.net.Tensors("") {
			if got := m.nets()[i].Tensors("")[j]; !slices.Equal(got.Data.([]float32), want.Data.([]float32)) {
				t.Errorf("member %d: %s is not that of seed %d", i, want.Name, c.Seed)
			}
		}
	}
	if a, b := m.Parameters(), alone[0].Parameters(); a != 2*b {
		t.Errorf("%d parameters, two of %d", a, b)
	}
	k := m.codec
	track := k.encode(data[0], slices.Repeat([]uint8{0}, data[0].Data.Len()))
	d, e, lead := k.numbersIn(), len(k.heads), k.lead()
	if lead == 0 {
		t.Fatal("the toy's load has one regime")
	}
	all, err := newCommittee("", m.nets(), backend(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	each := []*committee{}
	for _, one := range alone {
		c, err := newCommittee("", one.nets(), backend(t), 1)
		if err != nil {
			t.Fatal(err)
		}
		each = append(each, c)
	}
	for s := 1; s < 40; s++ {
		for _, c := range append(each, all) {
			c.Step([]int{0}, track.tokens[s*e:][:e], track.x[s*d:][:d])
		}
		for _, turn := range []int32{0, 1, 3} {
			for h := range k.Heads {
				values := slices.Repeat([]int32{-1}, lead+len(k.Heads))
				values[0] = turn
				temper := turn > 0 && k.tempered(h)
				want := make([]float64, k.size(h))
				for _, c := range each {
					w := c.weights(0, lead+h, values, temper)
					sum := 0.
					for _, x := range w {
						sum += float64(x)
					}
					for i, x := range w {
						want[i] += float64(x) / sum / 2
					}
				}
				sum := 0.
				got := all.weights(0, lead+h, values, temper)
				for _, x := range got {
					sum += float64(x)
				}
				for i, x := range got {
					if math.Abs(float64(x)/sum-want[i]) > 1e-6 {
						t.Fatalf("second %d, turning %d, head %d, class %d: %v, the members' mean is %v", s, turn, h, i, float64(x)/sum, want[i])
					}
				}
			}
		}
	}
}

// An ensemble that is interrupted within its second member goes on to the same bytes,
// and its rollouts stand alone and continue from a snapshot.
func TestEnsembleResume(t *testing.T) {
	data := toys(2, 300, 20, true)
	m := fit(t, pairOf, data, FitOptions{})
	var want bytes.Buffer
	if err := m.Write(&want); err != nil {
		t.Fatal(err)
	}
	for _, stop := range []int{2, 3, 5} { // checkpoints at 2, 4, 6 of the first, of which the third begins the second
		var kept bytes.Buffer
		n := 0
		o := FitOptions{Every: 2, Checkpoint: func(m *Model) error {
			if n++; n < stop {
				return nil
			}
			if err := m.Write(&kept); err != nil {
				return err
			}
			return timegan.ErrStop
		}}
		fit(t, pairOf, data, o)
		half, err := Decode(bytes.NewReader(kept.Bytes()), int64(kept.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if half.Done() || half.Members() != 1+stop/3 {
			t.Fatalf("after checkpoint %d: done %v, %d members", stop, half.Done(), half.Members())
		}
		var got bytes.Buffer
		if err := fit(t, pairOf, data, FitOptions{Resume: half}).Write(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("stopped at checkpoint %d: other bytes than of a fit that was not", stop)
		}
	}
	again, err := Decode(bytes.NewReader(want.Bytes()), int64(want.Len()))
	if err != nil {
		t.Fatal(err)
	}
	a := run(t, m, []uint64{4, 9}, []int32{32, 128}, 50)
	b := run(t, again, []uint64{9}, []int32{128}, 50)
	if !slices.Equal(a[1], b[0]) {
		t.Error("a row of the ensemble depends on its neighbour, or on being saved")
	}
	bad := pairOf
	bad.AdversarialWeight = 1
	if _, err := Fit(context.Background(), bad, backend(t), data, FitOptions{}); err == nil {
		t.Error("an ensemble is fine-tuned against a discriminator")
	}
}
