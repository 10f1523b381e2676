package doppelganger

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/planegym/planegym/traffic"
)

// ErrFrom is wrapped by errors that say why a fit cannot begin with a model.
var ErrFrom = errors.New("doppelganger: cannot begin with that model")

// Strange counts the values of a field that no class has of the model that a fit began
// with. They count as the nearest.
type Strange struct {
	Field  string `json:"field"`
	Values int    `json:"values"` // without a class
	Of     int    `json:"of"`     // values that there are
}

// alone is the share, 1/alone, of the updates of a fit that begins with a model's
// generators in which the critics learn alone. Files do not hold critics: these
// begin anew, and a generator that follows one that knows nothing forgets what it was.
const alone = 5

// Tuning are the settings of a fit that begins with m: a quarter of the updates, as
// NetShare gives the chunks behind the first.
func (m *Model) Tuning() Config {
	c := m.Config
	c.Updates, c.Chunk = max(c.Updates/4, 1), 0
	return c
}

// begin puts the classes of a fitted model into m and counts the values that have none.
// Labels and starts stay those of set.
func (m *Model) begin(with traffic.Model, set *traffic.Set) (*Model, error) {
	f, ok := with.(*Model)
	if !ok {
		return nil, fmt.Errorf("%w: it is of another kind", ErrFrom)
	}
	if !f.Done() {
		return nil, fmt.Errorf("%w: %d of its %d updates are done", ErrFrom, f.Updates, f.Config.Updates)
	}
	if d := set.Of.Difference(&f.codec.Schema); d != "" {
		return nil, fmt.Errorf("%w: its sessions have other fields: %s", ErrFrom, d)
	}
	a, b := m.Config, f.Config
	if a.Mode != b.Mode {
		return nil, fmt.Errorf("%w: mode: its is %s, not %s", ErrFrom, b.Mode, a.Mode)
	}
	for _, x := range []struct {
		name      string
		here, its int
		skip      bool
	}{{"hidden", a.Hidden, b.Hidden, false}, {"noise", a.Noise, b.Noise, a.Mode == Likelihood}, {"width", a.Width, b.Width, a.Mode == Likelihood},
		{"emit", a.Emit, b.Emit, a.Mode == Likelihood}, {"chunks", a.Chunks, b.Chunks, false}, {"bins", a.Bins, b.Bins, false}, {"common", a.Common, b.Common, false}} {
		if x.here != x.its && !x.skip {
			return nil, fmt.Errorf("%w: %s: its weights are of %d, not %d", ErrFrom, x.name, x.its, x.here)
		}
	}
	k := *f.codec
	if k.Chunks == m.codec.Chunks {
		k.Span = m.codec.Span // of this trace
	} else if a.Chunk > 0 {
		return nil, fmt.Errorf("%w: chunk: its sessions all start at the same time", ErrFrom)
	}
	k.Labels, k.Starts, k.Longest = m.codec.Labels, m.codec.Starts, max(k.Longest, m.codec.Longest)
	k.Ends, k.Places = nil, nil // calibration fits them
	k.index()
	m.codec = &k
	m.Strange = k.strange(set)
	h := sha256.New()
	if err := f.Write(h, nil); err != nil {
		return nil, err
	}
	m.Parent = hex.EncodeToString(h.Sum(nil))
	return f, nil
}

// has reports whether a class has x.
func (c *classes) has(x float64) bool {
	if class := int(c.encode(x)); class < len(c.Exact) {
		return c.Exact[class] == x
	}
	return c.Edges[0] <= x && x < c.Edges[len(c.Edges)-1]
}

// strange counts the values of sessions that no class has, by field.
func (k *codec) strange(set *traffic.Set) (all []Strange) {
	count := func(name string, each func(see func(known bool))) {
		s := Strange{Field: name}
		each(func(known bool) {
			s.Of++
			if !known {
				s.Values++
			}
		})
		if s.Values > 0 {
			all = append(all, s)
		}
	}
	if k.Kinds != nil {
		count("kind", func(see func(bool)) {
			for i := range set.Sessions {
				for t := range set.Of.Len(&set.Sessions[i]) {
					see(k.Kinds.find(k.Kinds.tuple(set.Of.Step(&set.Sessions[i], t))) >= 0)
				}
			}
		})
	}
	in := k.inner(set)
	for j, f := range k.Schema.Meta {
		count(f.Name, func(see func(bool)) {
			for i := range in.Sessions {
				see(k.Meta[j].has(in.Sessions[i].Meta[j]))
			}
		})
	}
	steps := func(f int, c *classes) {
		count(k.in.Steps[f].Name, func(see func(bool)) {
			for i := range in.Sessions {
				for t := range in.Of.Len(&in.Sessions[i]) {
					see(c.has(in.Of.Step(&in.Sessions[i], t)[f]))
				}
			}
		})
	}
	if !k.Series {
		for f := range k.Steps {
			steps(f, &k.Steps[f])
		}
		return all
	}
	for j, f := range k.other {
		steps(f, &k.Steps[j])
	}
	for j, f := range k.numeric {
		for _, x := range []struct {
			of string
			c  *classes
		}{{"smallest ", &k.Low[j]}, {"range of ", &k.Range[j]}} {
			count(x.of+k.in.Steps[f].Name, func(see func(bool)) {
				for i := range in.Sessions {
					if lo, hi := k.extremes(&in.Sessions[i], f); x.c == &k.Low[j] {
						see(x.c.has(lo))
					} else {
						see(x.c.has(hi - lo))
					}
				}
			})
		}
	}
	return all
}

// Notes are what a person should know of the fit.
func (m *Model) Notes() (all []string) {
	if c := m.Config.Chunk; c > 0 {
		k := m.codec
		all = append(all, fmt.Sprintf("chunk %d of %d, from %.6g to %.6g s: %d of %d sessions start in it, %d records", c, k.Chunks,
			float64(c-1)*k.Span, float64(c)*k.Span, m.Account.Sessions, m.Account.Sessions+m.Account.Others, m.Account.Records))
	}
	for _, s := range m.Strange {
		all = append(all, fmt.Sprintf("%s: %d of %d values have no class in the model that this began with; they count as the nearest", s.Field, s.Values, s.Of))
	}
	return all
}
