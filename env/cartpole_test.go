package env_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
)

// Every observation and flag equals Gymnasium's, bit for bit.
func TestCartPoleGymnasium(t *testing.T) {
	f, err := os.Open("testdata/cartpole.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := env.NewCartPole(1, env.Disabled)
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
				seeds = []uint64{seed}
			}
			err = v.Reset(ctx, nil, seeds, &b)
		} else {
			err = v.Step(ctx, nil, []int32{cartPolicy(policy, b.Obs, step-1)}, &b)
		}
		if err != nil {
			t.Fatal(err)
		}
		lines++
		for i, w := range want {
			if got := math.Float32bits(b.Obs[i]); got != w {
				t.Fatalf("%s: element %d is %08x (%v)", sc.Text(), i, got, b.Obs[i])
			}
		}
		if b.Terminated[0] != (terminated == 1) || b.Truncated[0] != (truncated == 1) {
			t.Fatalf("%s: terminated %v truncated %v", sc.Text(), b.Terminated[0], b.Truncated[0])
		}
	}
	if lines < 1000 {
		t.Errorf("only %d lines compared", lines)
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
		s, c := env.SinCos(x)
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
