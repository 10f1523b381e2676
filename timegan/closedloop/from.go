package closedloop

import (
	"fmt"
	"slices"
	"strings"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/telemetry"
)

// A model of few recordings can begin with the weights of one that was fitted to
// many of another testbed (FitOptions.From): queues and players are alike, loads are
// not. So it takes over how seconds become inputs and classes, and the network, and
// infers the load anew. A regime begins with the inputs' weights of that regime of
// the other model under which its own seconds are the most likely.

// lend is k, a codec of recordings, with m's columns, heads and scales, and the
// regimes of the recordings.
func (m *Model) lend(c Config, k *codec, recordings []telemetry.Recording) (*codec, [][]uint8, error) {
	from := m.codec
	if err := m.fits(c, k); err != nil {
		return nil, nil, fmt.Errorf("closedloop: from: %w", err)
	}
	to := *from
	to.Columns = slices.Clone(from.Columns)
	for j := range to.Columns { // an observation's scale holds what either recorded
		to.Columns[j].Lo, to.Columns[j].Hi = min(from.Columns[j].Lo, k.Columns[j].Lo), max(from.Columns[j].Hi, k.Columns[j].Hi)
	}
	if k.Full != nil {
		to.Full = k.Full
	}
	to.index()
	var regimes [][]uint8
	to.Load, regimes = inferLoad(&to, recordings, c.Regimes)
	return &to, regimes, nil
}

// fits reports why a model of config c and codec k cannot begin with m.
func (m *Model) fits(c Config, k *codec) error {
	from := m.codec
	switch {
	case !m.Done():
		return fmt.Errorf("its training has not ended")
	case c.Hidden != m.Config.Hidden:
		return fmt.Errorf("hidden: it has %d units, not %d", m.Config.Hidden, c.Hidden)
	case from.Clock != 0 || k.Clock != 0:
		return fmt.Errorf("clock: a model with a clock knows one recording's hour, which is no other's")
	case from.Switches != k.Switches || from.Open != k.Open || from.Restart != k.Restart || from.Levels != k.Levels:
		return fmt.Errorf("it has %d limits a second and %d levels of quality, the recordings %d and %d (or it is of an earlier version)", from.Switches, from.Levels, k.Switches, k.Levels)
	case from.Played != k.Played:
		return fmt.Errorf("played: it has %v, not %v", from.Played, k.Played)
	case len(from.Columns) != len(k.Columns):
		return fmt.Errorf("it has %d columns, the recordings have %d", len(from.Columns), len(k.Columns))
	}
	for j, a := range from.Columns {
		switch b := k.Columns[j]; {
		case a.Name != b.Name || a.Unit != b.Unit:
			return fmt.Errorf("its column %d is %s (%s), that of the recordings %s (%s)", j+1, a.Name, a.Unit, b.Name, b.Unit)
		case a.Kind != b.Kind:
			return fmt.Errorf("column %s is of kind %s in it, %s in the recordings", a.Name, a.Kind, b.Kind)
		case !slices.Equal(a.Levels, b.Levels):
			return fmt.Errorf("column %s has the values %v in it, %v in the recordings", a.Name, a.Levels, b.Levels)
		}
	}
	for s, limits := range k.Limits {
		for _, l := range limits {
			if !slices.Contains(from.Limits[s], l) {
				return fmt.Errorf("the recordings have limit %d, and it knows %v", l, from.Limits[s])
			}
		}
	}
	return nil
}

// Parameters of the network's input by name.
const inputWeights, inputBias = "gru.weight_ih_l0", "gru.bias_ih_l0"

// give sets the parameters of net, a network of codec k, to m's.
func (m *Model) give(net *seq.Model, k *codec, be *compute.Backend, recordings []telemetry.Recording, regimes [][]uint8) error {
	from := map[string]safetensors.Tensor{}
	for _, t := range m.net.Tensors("") {
		from[t.Name] = t
	}
	embedded := net.In() - net.Dense
	first := embedded + k.given() - k.regimesIn() // the inputs of regimes
	alike, err := m.alike(be, recordings, regimes, k.Load.K)
	if err != nil {
		return err
	}
	// column is which input of m an input of net is.
	column := func(i int) int {
		switch {
		case i < first:
			return i
		case i < first+k.regimesIn():
			return first + alike[i-first]
		}
		return i - k.regimesIn() + m.codec.regimesIn()
	}
	if m.codec.regimesIn() == 0 && k.regimesIn() > 0 {
		column = func(i int) int {
			if i >= first && i < first+k.regimesIn() {
				return -1 // what one load has to learn of two
			}
			return min(i, first) + max(i-first-k.regimesIn(), 0)
		}
	}
	was, is := m.turningClasses(), net.Width()-m.net.Width()+m.turningClasses()
	for _, t := range net.Tensors("") {
		lent, ok := from[t.Name]
		if !ok {
			continue // the turning's rows are fitted afterwards
		}
		a, b := lent.Data.([]float32), t.Data.([]float32)
		switch {
		case t.Name == inputWeights:
			wide, old := t.Shape[1], lent.Shape[1]
			for at := range b {
				b[at] = 0
				if c := column(at % wide); c >= 0 {
					b[at] = a[at/wide*old+c]
				}
			}
		case strings.HasPrefix(t.Name, "head.0."): // the turning's logits come first
			row := len(b) / t.Shape[0]
			copy(b[is*row:], a[was*row:])
		case len(a) == len(b):
			copy(b, a)
		}
		if t.Name == inputBias && k.regimesIn() == 0 && m.codec.regimesIn() > 0 { // that one regime, always
			w := from[inputWeights]
			for i := range b {
				b[i] += w.Data.([]float32)[i*w.Shape[1]+first+alike[0]]
			}
		}
	}
	return nil
}

// turningClasses is how many classes the head has that is given.
func (m *Model) turningClasses() int {
	if m.codec.lead() == 0 {
		return 0
	}
	return 1 + m.codec.turnings()
}

// alike is, for each of k regimes, the regime of m under which its seconds in
// recordings are the most likely.
func (m *Model) alike(be *compute.Backend, recordings []telemetry.Recording, regimes [][]uint8, k int) ([]int, error) {
	best := make([]int, k)
	if m.codec.Load.K == 1 {
		return best, nil
	}
	for z := range best {
		least := 0.
		for as := range m.codec.Load.K {
			nats, err := m.under(be, recordings, regimes, uint8(z), uint8(as))
			if err != nil {
				return nil, err
			}
			if as == 0 || nats < least {
				best[z], least = as, nats
			}
		}
	}
	return best, nil
}

// under is the mean nats of the seconds of regime z, taken for regime as of m.
func (m *Model) under(be *compute.Backend, recordings []telemetry.Recording, regimes [][]uint8, z, as uint8) (float64, error) {
	other := (as + 1) % uint8(m.codec.Load.K)
	var paths [][]uint8
	for _, path := range regimes {
		taken := slices.Repeat([]uint8{other}, len(path))
		for s, r := range path {
			if r == z {
				taken[s] = as
			}
		}
		paths = append(paths, taken)
	}
	t, err := newTracks(m.codec, recordings, paths, m.Config.Window)
	if err != nil {
		return 0, err
	}
	c := m.Config
	c.Weight = 1
	sum := 0.
	for _, n := range t.nats(c, m.net, be, func(i, s int) bool { return regimes[i][s] == z }) {
		sum += n
	}
	return sum, nil
}
