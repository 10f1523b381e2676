package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/planegym/planegym/env"
)

// Figures, and a change measured beside a control.

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return math.MaxInt64
	}
	slices.Sort(d)
	return d[(len(d)-1)*p/100]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// latency steps a session for d and gives its times.
func latency(url string, d time.Duration) ([]time.Duration, error) {
	c, err := dial(url, 1)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var b env.Batch
	if err := c.Reset(context.Background(), nil, nil, &b); err != nil {
		return nil, err
	}
	var took []time.Duration
	for end := time.Now().Add(d); ; {
		start := time.Now()
		if start.After(end) {
			return took, nil
		}
		if err := c.Step(context.Background(), nil, []int32{0}, &b); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
}

// beside measures a neighbour in turns, alone, disturbed, alone: rounds of them and one alone
// after. Each disturbed turn is compared with the two alone around it, since the load of the
// machine changes too, and how much says the control: those two compared with each other.
func beside(url string, rounds int, d time.Duration, disturbed func() ([]time.Duration, error), figure func([]time.Duration) float64) (change, control quartiles, err error) {
	var ratios, controls []float64
	turn := func(times []time.Duration, err error) (float64, error) {
		if err == nil && len(times) == 0 {
			err = errors.New("the neighbour did not step")
		}
		if err != nil {
			return 0, err
		}
		return figure(times), nil
	}
	before, err := turn(latency(url, d))
	for i := 0; i < rounds && err == nil; i++ {
		var during, after float64
		if during, err = turn(disturbed()); err != nil {
			break
		}
		if after, err = turn(latency(url, d)); err != nil {
			break
		}
		ratios = append(ratios, 100*(during/math.Sqrt(before*after)-1))
		controls = append(controls, 100*(after/before-1))
		before = after
	}
	return quartilesOf(ratios), quartilesOf(controls), err
}

// quartiles are of changes, in percent.
type quartiles [3]float64

func quartilesOf(x []float64) (q quartiles) {
	slices.Sort(x)
	for i := range q {
		if len(x) > 0 {
			q[i] = x[(len(x)-1)*(i+1)/4]
		}
	}
	return q
}

func (q quartiles) String() string { return fmt.Sprintf("%+.0f %% (%+.0f to %+.0f)", q[1], q[0], q[2]) }

// fit is the slope of y over x by least squares, and its standard error with
// the residuals' autocorrelation allowed for by blocks of 30 points.
func fit(x, y []float64) (slope, stderr float64) {
	mean := func(v []float64) (m float64) {
		for _, v := range v {
			m += v
		}
		return m / float64(len(v))
	}
	const block = 30
	if len(x) >= 4*block {
		var bx, by []float64
		for i := 0; i+block <= len(x); i += block {
			bx, by = append(bx, mean(x[i:i+block])), append(by, mean(y[i:i+block]))
		}
		x, y = bx, by
	}
	mx, my := mean(x), mean(y)
	var sxx, sxy, rr float64
	for i := range x {
		sxx += (x[i] - mx) * (x[i] - mx)
		sxy += (x[i] - mx) * (y[i] - my)
	}
	slope = sxy / sxx
	for i := range x {
		r := y[i] - my - slope*(x[i]-mx)
		rr += r * r
	}
	return slope, math.Sqrt(rr / float64(max(len(x)-2, 1)) / sxx)
}
