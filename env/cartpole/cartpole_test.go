package cartpole_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// Every observation and flag equals Gymnasium's, bit for bit, alone and among
// others, where four at a time go through other instructions.
func TestCartPoleGymnasium(t *testing.T) {
	for _, n := range []int{1, 9} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { compareWithGymnasium(t, n) })
	}
}

func compareWithGymnasium(t *testing.T, n int) {
	f, err := os.Open("testdata/cartpole.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := cartpole.New(n, env.Disabled)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var b env.Batch
	var last string // run of the line before
	seeded, lines := false, 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		var seed uint64
		var policy string
		var step, terminated, truncated int
		var want [4]uint32
		if _, err := fmt.Sscanf(sc.Text(), "%d %s %d %x %x %x %x %d %d", &seed, &policy, &step,
			&want[0], &want[1], &want[2], &want[3], &terminated, &truncated); err != nil {
			t.Fatalf("%q: %v", sc.Text(), err)
		}
		if step == 0 {
			run := fmt.Sprint(seed, policy)
			seeded = run != last
			last = run
			var seeds []uint64
			if seeded {
				seeds = slices.Repeat([]uint64{seed}, n)
			}
			err = v.Reset(ctx, nil, seeds, &b)
		} else {
			err = v.Step(ctx, nil, slices.Repeat([]int32{cartPolicy(policy, b.Obs, step-1)}, n), &b)
		}
		if err != nil {
			t.Fatal(err)
		}
		lines++
		for i, x := range b.Obs {
			if got := math.Float32bits(x); got != want[i%4] {
				t.Fatalf("%s: row %d, element %d is %08x (%v)", sc.Text(), i/4, i%4, got, x)
			}
		}
		for i := range n {
			if b.Terminated[i] != (terminated == 1) || b.Truncated[i] != (truncated == 1) {
				t.Fatalf("%s: row %d terminated %v truncated %v", sc.Text(), i, b.Terminated[i], b.Truncated[i])
			}
		}
	}
	if lines < 1000 {
		t.Errorf("only %d lines compared", lines)
	}
}

// CartPole's own resets are those of WithAutoreset, in every mode, for all rows and for some.
func TestCartPoleResets(t *testing.T) {
	const n = 11
	for _, mode := range []env.Autoreset{env.NextStep, env.SameStep} {
		t.Run(mode.String(), func(t *testing.T) {
			own, err := cartpole.New(n, mode)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := cartpole.New(n, env.Disabled)
			if err != nil {
				t.Fatal(err)
			}
			wrapped := env.WithAutoreset(plain, mode)
			r := rand.New(rand.NewPCG(1, 2))
			var got, want env.Batch
			for step := range 6000 {
				var rows []int
				k := n
				if step%3 == 2 {
					for i := range n {
						if r.Uint64()%2 == 0 {
							rows = append(rows, n-1-i)
						}
					}
					if k = len(rows); k == 0 {
						continue
					}
				}
				actions := make([]int32, k)
				for i := range actions {
					actions[i] = int32(r.Uint64() % 2)
				}
				if step%500 == 7 {
					actions[k/2] = 2 // refused, except where the row resets in this step
				}
				call := func(v env.Vector, out *env.Batch) error {
					if step%2000 == 0 {
						return v.Reset(t.Context(), rows, nil, out)
					}
					return v.Step(t.Context(), rows, actions, out)
				}
				gotErr, wantErr := call(own, &got), call(wrapped, &want)
				if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
					t.Fatalf("step %d: %v, want %v", step, gotErr, wantErr)
				}
				if gotErr == nil && !reflect.DeepEqual(got, want) {
					t.Fatalf("step %d: %v, want %v", step, got, want)
				}
			}
		})
	}
}

// Four carts at a time become what they become one by one.
func TestCartPoleAll(t *testing.T) {
	if !cartpole.PushesAll() {
		t.Skip("this machine has no AVX2")
	}
	r := rand.New(rand.NewPCG(3, 4))
	within := func(most float64) float64 { return most * (2*r.Float64() - 1) }
	for range 2000 {
		const n = 12
		carts, actions := make([][4]float64, n), make([]int32, n)
		for i := range carts {
			carts[i] = [4]float64{within(3), within(4), within(.5), within(4)}
			actions[i] = int32(r.Uint64() % 2)
			switch r.Uint64() % 20 {
			case 0:
				carts[i][2] = 0
			case 1:
				carts[i][0] = math.Copysign(2.4, within(1))
			case 2:
				carts[i][2] = math.Copysign(12*2*math.Pi/360, within(1))
			case 3:
				carts[i][r.Uint64()%4] *= 0x1p-1060
			}
		}
		if err := cartpole.ComparePushes(carts, actions); err != nil {
			t.Fatal(err)
		}
	}
}

// A pole that only set_state brings beyond the sine's series goes on as alone.
func TestCartPoleFarPole(t *testing.T) {
	v, err := cartpole.New(4, env.Disabled)
	if err != nil {
		t.Fatal(err)
	}
	var b env.Batch
	if err := v.Reset(t.Context(), nil, nil, &b); err != nil {
		t.Fatal(err)
	}
	s := v.(env.Snapshotter)
	state, err := s.Snapshot(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint64(state[16:], math.Float64bits(2.5))
	if err := s.Restore(1, state); err != nil {
		t.Fatal(err)
	}
	alone, err := cartpole.New(1, env.Disabled)
	if err != nil {
		t.Fatal(err)
	}
	if err := alone.(env.Snapshotter).Restore(0, state); err != nil {
		t.Fatal(err)
	}
	var want env.Batch
	if err := alone.Step(t.Context(), nil, []int32{1}, &want); err != nil {
		t.Fatal(err)
	}
	if err := v.Step(t.Context(), nil, []int32{1, 1, 1, 1}, &b); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.Obs[4:8], want.Obs) || !b.Terminated[1] {
		t.Errorf("%v, alone %v", b.Obs[4:8], want.Obs)
	}
}

func cartPolicy(name string, obs []float32, step int) int32 {
	switch name {
	case "right":
		return 1
	case "alternate":
		return int32(step % 2)
	}
	if 3*float64(obs[2])+float64(obs[3]) > 0 {
		return 1
	}
	return 0
}

// The series against 200-bit arithmetic.
func TestSinCosNearlyCorrectlyRounded(t *testing.T) {
	wrong := 0
	const n = 4000
	for i := range n {
		x := (float64(i) - n/2) / n * .999
		s, c := cartpole.SinCos(x)
		bs, bc := bigSinCos(x)
		if s != bs {
			wrong++
		}
		if c != bc {
			wrong++
		}
		if d := math.Abs(s - bs); d > math.Abs(bs)*0x1p-52 {
			t.Errorf("sin %v = %v, want %v", x, s, bs)
		}
		if d := math.Abs(c - bc); d > 0x1p-53 {
			t.Errorf("cos %v = %v, want %v", x, c, bc)
		}
	}
	if wrong > n/100 {
		t.Errorf("%d of %d are not correctly rounded", wrong, 2*n)
	}
}

func bigSinCos(x float64) (sin, cos float64) {
	const prec = 200
	bx := new(big.Float).SetPrec(prec).SetFloat64(x)
	term := new(big.Float).SetPrec(prec).SetInt64(1)
	sums := [2]*big.Float{new(big.Float).SetPrec(prec), new(big.Float).SetPrec(prec)}
	for k := 1; k < 60; k++ { // term is x^(k-1)/(k-1)!
		sum := sums[(k-1)%2]
		if (k-1)/2%2 == 0 {
			sum.Add(sum, term)
		} else {
			sum.Sub(sum, term)
		}
		term.Mul(term, bx)
		term.Quo(term, new(big.Float).SetPrec(prec).SetInt64(int64(k)))
	}
	cos, _ = sums[0].Float64()
	sin, _ = sums[1].Float64()
	return sin, cos
}
