// Package cartpole is Gymnasium's CartPole-v1 bit for bit: the reference environment
// of agents, clients and transport.
package cartpole

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// Gymnasium's CartPole-v1 (Barto, Sutton and Anderson 1983), constants and
// order of operations as there, so that trajectories agree bit for bit.
const (
	gravity        = 9.8
	massPole       = 0.1
	totalMass      = massPole + 1.0
	poleHalfLength = 0.5
	poleMassLength = massPole * poleHalfLength
	forceMagnitude = 10.0
	tau            = 0.02 // seconds
	thetaThreshold = 12 * 2 * math.Pi / 360
	xThreshold     = 2.4
	cartPoleSteps  = 500
)

// CartPole is the reference environment of agents, clients and transport: N
// carts, seeded as Gymnasium seeds its own. It resets by itself in every mode:
// what WithAutoreset adds would cost more than the step.
type CartPole struct {
	mode   env.Autoreset
	state  []pose
	pcg    []rng.PCG64
	steps  []uint32
	phase  []env.Phase
	seen   []bool
	vector bool // steps of all rows go through pushAll
	closed bool
}

// pose is cart position and velocity, pole angle and angular velocity.
type pose struct{ x, xDot, theta, thetaDot float64 }

// New makes n carts. Error: n < 1.
func New(n int, mode env.Autoreset) (env.Vector, error) {
	if n < 1 {
		return nil, fmt.Errorf("env: num_envs: %d is less than 1", n)
	}
	c := &CartPole{
		mode: mode, state: make([]pose, n), pcg: make([]rng.PCG64, n), steps: make([]uint32, n),
		phase: make([]env.Phase, n), seen: make([]bool, n), vector: pushesAll(),
	}
	for i := range c.pcg {
		c.pcg[i] = rng.NewPCG64(uint64(i))
	}
	return c, nil
}

// Spec is Gymnasium's: four numbers, two actions, 500 steps.
func (c *CartPole) Spec() env.Spec {
	inf := float32(math.Inf(1))
	high := []float32{2 * xThreshold, inf, 2 * thetaThreshold, inf}
	return env.Spec{
		Observation: env.Box{
			Low:  []float32{-high[0], -inf, -high[2], -inf},
			High: high,
			Elements: []telemetry.Field{
				{Name: "cart_position", Unit: "m"}, {Name: "cart_velocity", Unit: "m/s"},
				{Name: "pole_angle", Unit: "rad"}, {Name: "pole_angular_velocity", Unit: "rad/s"},
			},
		},
		Action:      env.MultiDiscrete{2},
		Reward:      [2]float64{0, 1},
		StepSeconds: tau,
		MaxSteps:    cartPoleSteps,
		Autoreset:   c.mode,
	}
}

// Num is the number of carts.
func (c *CartPole) Num() int { return len(c.state) }

// Close ends the vector.
func (c *CartPole) Close() error { c.closed = true; return nil }

// check validates what Reset and Step share and gives the number of rows.
func (c *CartPole) check(ctx context.Context, rows []int) (int, error) {
	if c.closed {
		return 0, env.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if rows == nil {
		return len(c.state), nil
	}
	return len(rows), env.CheckRows(rows, c.seen)
}

// Reset draws each cart's four numbers uniformly from ±0.05.
func (c *CartPole) Reset(ctx context.Context, rows []int, seeds []uint64, out *env.Batch) error {
	n, err := c.check(ctx, rows)
	if err != nil {
		return err
	}
	if seeds != nil && len(seeds) != n {
		return fmt.Errorf("%w: %d seeds for %d rows", env.ErrInvalidRows, len(seeds), n)
	}
	out.Size(n, 4, c.mode == env.SameStep)
	for i := range n {
		r := env.RowAt(rows, i)
		if seeds != nil {
			c.pcg[r] = rng.NewPCG64(seeds[i])
		}
		c.begin(r, i, out)
		out.Reward[i], out.Terminated[i], out.Truncated[i] = 0, false, false
	}
	return nil
}

// begin starts an episode in row r, the i-th of out.
func (c *CartPole) begin(r, i int, out *env.Batch) {
	k, g := &c.state[r], &c.pcg[r]
	k.x, k.xDot = g.Uniform(-.05, .05), g.Uniform(-.05, .05)
	k.theta, k.thetaDot = g.Uniform(-.05, .05), g.Uniform(-.05, .05)
	c.steps[r], c.phase[r] = 0, env.Running
	k.observe(out, i)
}

// Step pushes each cart left (0) or right (1) for 0.02 s.
func (c *CartPole) Step(ctx context.Context, rows []int, actions []int32, out *env.Batch) error {
	n, err := c.check(ctx, rows)
	if err != nil {
		return err
	}
	if err := c.admit(rows, n, actions); err != nil {
		return err
	}
	out.Size(n, 4, c.mode == env.SameStep)
	done := 0 // rows that pushAll did
	if rows == nil && c.vector {
		done = n &^ 3
		pushAll(c.state[:done], actions, out)
	}
	for i := done; i < n; i++ {
		k := &c.state[env.RowAt(rows, i)]
		k.push(actions[i])
		k.observe(out, i)
		out.Terminated[i] = k.fallen()
	}
	ended := false
	for i := range n {
		r := env.RowAt(rows, i)
		if c.phase[r] == env.Over { // its action and what it did are ignored
			c.begin(r, i, out)
			out.Reward[i], out.Terminated[i], out.Truncated[i] = 0, false, false
			continue
		}
		c.steps[r]++
		out.Reward[i] = 1
		out.Truncated[i] = c.steps[r] >= cartPoleSteps
		if out.Terminated[i] || out.Truncated[i] {
			c.phase[r], ended = env.Over, true
		}
	}
	if c.mode != env.SameStep {
		return nil
	}
	if !ended {
		clear(out.FinalObs)
		return nil
	}
	copy(out.FinalObs, out.Obs)
	for i := range n {
		if r := env.RowAt(rows, i); c.phase[r] == env.Over {
			c.begin(r, i, out)
		}
	}
	return nil
}

// admit refuses actions outside the space and rows that cannot step.
func (c *CartPole) admit(rows []int, n int, actions []int32) error {
	if len(actions) != n {
		return env.CheckActions(rows, n, actions, cartPoleActions)
	}
	for i, a := range actions {
		p := c.phase[env.RowAt(rows, i)]
		if steps := p == env.Running && uint32(a) <= 1; !steps && (p != env.Over || c.mode != env.NextStep) {
			return c.refuse(rows, actions)
		}
	}
	return nil
}

// refuse says why: the first bad action, or else the first row that cannot step.
func (c *CartPole) refuse(rows []int, actions []int32) error {
	for i := range actions {
		r := env.RowAt(rows, i)
		if c.phase[r] == env.Over && c.mode == env.NextStep {
			continue
		}
		if err := env.CheckActions([]int{r}, 1, actions[i:i+1], cartPoleActions); err != nil {
			return err
		}
	}
	for i := range actions {
		switch r := env.RowAt(rows, i); {
		case c.phase[r] == env.Fresh:
			return &env.RowError{Row: r, Err: env.ErrNeedReset}
		case c.phase[r] == env.Over && c.mode == env.Disabled:
			return &env.RowError{Row: r, Err: env.ErrEpisodeOver}
		}
	}
	return nil
}

var cartPoleActions = env.MultiDiscrete{2}

func (k *pose) observe(out *env.Batch, i int) {
	o := out.Obs[4*i : 4*i+4 : 4*i+4]
	o[0], o[1], o[2], o[3] = float32(k.x), float32(k.xDot), float32(k.theta), float32(k.thetaDot)
}

func (k *pose) fallen() bool { return math.Abs(k.x) > xThreshold || math.Abs(k.theta) > thetaThreshold }

// push is one Euler step. Each product that is added is wrapped in a float64
// conversion, which forbids the fused multiply-add that some architectures
// would use.
func (k *pose) push(action int32) {
	force := -forceMagnitude
	if action == 1 {
		force = forceMagnitude
	}
	sin, cos := sinCos(k.theta)
	temp := (force + float64(poleMassLength*float64(k.thetaDot*k.thetaDot)*sin)) / totalMass
	thetaAcc := (float64(gravity*sin) - float64(cos*temp)) /
		(poleHalfLength * (4.0/3.0 - float64(massPole*float64(cos*cos))/totalMass))
	xAcc := temp - float64(poleMassLength*thetaAcc*cos)/totalMass
	k.x += float64(tau * k.xDot)
	k.xDot += float64(tau * xAcc)
	k.theta += float64(tau * k.thetaDot)
	k.thetaDot += float64(tau * thetaAcc)
}

const (
	sinCosRange     = .5
	sixth, sixthLow = -1 / 6., -0x1.5555555555555p-57 // -1/3! in two doubles
)

// sinCos is sine and cosine of |x| ≤ 0.5, within 0.503 ulp: the C library's
// are correctly rounded nearly always, math.Sin is not. The first term of
// each series is held in two doubles; the rest is below 2⁻⁸ of the result.
func sinCos(x float64) (sin, cos float64) {
	if !(math.Abs(x) <= sinCosRange) {
		return math.Sincos(x)
	}
	z := x * x
	zLow := math.FMA(x, x, -z)

	// x - x³/6 + x⁵·p
	p := 1/120. + z*(-1/5040.+z*(1/362880.+z*(-1/39916800.+z*(1/6227020800.-z/1307674368000))))
	t := z * sixth
	tLow := math.FMA(z, sixth, -t) + z*sixthLow + zLow*sixth + z*z*p
	u := x * t
	uLow := math.FMA(x, t, -u) + x*tLow
	s := x + u
	sin = s + (u - (s - x) + uLow)

	// 1 - x²/2 + x⁴·q
	q := 1/24. + z*(-1/720.+z*(1/40320.+z*(-1/3628800.+z*(1/479001600.+z*(-1/87178291200.+z/20922789888000)))))
	c := 1 - z/2
	cos = c + ((1 - c) - z/2 - zLow/2 + z*z*q)
	return sin, cos
}

const cartBytes = 4*8 + 4*8 + 4 + 1

// Snapshot appends 69 bytes: the four numbers, the generator, the clock.
func (c *CartPole) Snapshot(row int, dst []byte) ([]byte, error) {
	if row < 0 || row >= len(c.state) {
		return dst, &env.RowError{Row: row, Err: env.ErrInvalidRows}
	}
	k, g := &c.state[row], &c.pcg[row]
	for _, v := range []float64{k.x, k.xDot, k.theta, k.thetaDot} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	for _, v := range []uint64{g.StateHi, g.StateLo, g.IncHi, g.IncLo} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	dst = binary.LittleEndian.AppendUint32(dst, c.steps[row])
	return append(dst, byte(c.phase[row])), nil
}

// maxState bounds the numbers of a state that is restored, far beyond those of any
// cart: what is shown of the steps after it is finite.
const maxState = 1e6

// Restore puts back what Snapshot gave.
func (c *CartPole) Restore(row int, src []byte) error {
	if row < 0 || row >= len(c.state) {
		return &env.RowError{Row: row, Err: env.ErrInvalidRows}
	}
	if len(src) != cartBytes || env.Phase(src[cartBytes-1]) > env.Over || c.mode == env.SameStep && env.Phase(src[cartBytes-1]) == env.Over {
		return &env.RowError{Row: row, Err: env.ErrBadSnapshot}
	}
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(src[8*i:]) }
	f := func(i int) float64 { return math.Float64frombits(u(i)) }
	for i := range 4 {
		if !(math.Abs(f(i)) <= maxState) {
			return &env.RowError{Row: row, Err: env.ErrBadSnapshot}
		}
	}
	c.state[row] = pose{f(0), f(1), f(2), f(3)}
	c.pcg[row] = rng.PCG64{StateHi: u(4), StateLo: u(5), IncHi: u(6), IncLo: u(7)}
	c.steps[row], c.phase[row] = binary.LittleEndian.Uint32(src[64:]), env.Phase(src[68])
	if c.phase[row] == env.Running && !(math.Abs(f(2)) <= sinCosRange) {
		c.vector = false // no cart of ours gets there, and pushAll has no such sine
	}
	return nil
}
