package closedloop

import (
	"errors"
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
)

// committee is the networks of a model, which read the same and of whose
// distributions the mean is drawn from: networks that differ by their seeds err
// differently where recordings are few (Lakshminarayanan, Pritzel, Blundell, "Simple
// and Scalable Predictive Uncertainty Estimation using Deep Ensembles", NIPS 2017).
// A head's distribution is the mean of the members', each given the heads drawn
// before. One member draws as it would alone.
type committee struct {
	nets    []*seq.Model
	members []*seq.Sampler
	mean    []float32
	turned  []float32
}

func newCommittee(engine string, nets []*seq.Model, be *compute.Backend, n int) (*committee, error) {
	c := &committee{nets: nets}
	for _, net := range nets {
		s, err := seq.OpenSampler(engine, net, be, n)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.members = append(c.members, s)
	}
	return c, nil
}

func (c *committee) Close() error {
	var all []error
	for _, s := range c.members {
		all = append(all, s.Close())
	}
	return errors.Join(all...)
}

// Err is the first error of the members.
func (c *committee) Err() error {
	for _, s := range c.members {
		if err := s.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (c *committee) Reset(rows []int) {
	for _, s := range c.members {
		s.Reset(rows)
	}
}

func (c *committee) Step(rows []int, tokens []int32, dense []float32) {
	for _, s := range c.members {
		s.Step(rows, tokens, dense)
	}
}

func (c *committee) Advance(rows []int, tokens []int32, dense []float32) {
	for _, s := range c.members {
		s.Advance(rows, tokens, dense)
	}
}

// Size is how many numbers the state of a row has.
func (c *committee) Size() int { return len(c.members) * c.members[0].Size() }

// State copies row's state to dst [Size], member after member.
func (c *committee) State(row int, dst []float32) {
	n := c.members[0].Size()
	for i, s := range c.members {
		s.State(row, dst[i*n:][:n])
	}
}

func (c *committee) SetState(row int, src []float32) {
	n := c.members[0].Size()
	for i, s := range c.members {
		s.SetState(row, src[i*n:][:n])
	}
}

// Draw draws entry i's class of a head by the uniform number u, puts it into
// values[head] and returns it. Where temper is set, it is the class of values[0] that
// adds to half of the logits.
func (c *committee) Draw(i, head int, values []int32, temper bool, u float64) int32 {
	if len(c.members) == 1 && !temper {
		return c.members[0].Draw(i, head, values, u)
	}
	values[head] = seq.Pick(c.weights(i, head, values, temper), u)
	return values[head]
}

// weights are entry i's probabilities of a head's classes, of one member
// unnormalised. They are the receiver's until its next call.
func (c *committee) weights(i, head int, values []int32, temper bool) []float32 {
	var w []float32
	for j := range c.members {
		w = c.member(j, i, head, values, temper)
		if len(c.members) == 1 {
			return w
		}
		if j == 0 {
			c.mean = telemetry.Grow(c.mean, len(w))
			clear(c.mean)
		}
		sum := float32(0)
		for _, x := range w {
			sum += x
		}
		for k, x := range w {
			c.mean[k] += x / sum
		}
	}
	return c.mean
}

// member is what member j makes of a head.
func (c *committee) member(j, i, head int, values []int32, temper bool) []float32 {
	if !temper {
		return c.members[j].Weights(i, head, values)
	}
	turn := values[0]
	values[0] = -1
	w := c.members[j].Weights(i, head, values)
	values[0] = turn
	c.turned = telemetry.Grow(c.turned, len(w))
	for k, b := range c.nets[j].Row(head, 0, int(turn)) {
		c.turned[k] = float32(math.Sqrt(float64(w[k])) * math.Exp(float64(b)))
	}
	return c.turned
}
