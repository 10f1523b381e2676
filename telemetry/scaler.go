package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
)

// Scaler maps the columns of a dataset into [0, 1] and back. It is fitted once
// and never changes; JSON keeps it with the model that was trained on it.
//
// Inverse undoes Forward: every float32 from the largest magnitude of its
// column down to 2^-20 of that comes back exactly, when rounded to float32;
// below, the error is less than 2^-46 of that magnitude. "quantile" promises
// it for the values that it was fitted to, and cuts off what lies outside of
// them. (Scale's result is float32 and holds 24 bits of that.)
type Scaler struct {
	columns []scaledColumn
}

// scaledColumn is a column and the steps it goes through.
type scaledColumn struct {
	Field
	Steps []scaleStep
}

// scaleStep is one fitted function, by Kind:
//
//	minmax    (x-Low)/(High-Low); x-Low where they are equal
//	log1p     ln(1+x), and -ln(1-x) for negative x
//	quantile  the mean rank of x among the fitted values, in [0, 1], linear
//	          between Values, whose ranks are Ranks
type scaleStep struct {
	Kind   string    `json:"kind"`
	Low    float64   `json:"low,omitempty"`
	High   float64   `json:"high,omitempty"`
	Values []float64 `json:"values,omitempty"`
	Ranks  []float64 `json:"ranks,omitempty"`
}

// maxKnots is the most values that a quantile step keeps; evenly spaced ones
// where there are more.
const maxKnots = 1024

// FitScaler fits a scaler to the measured values of a split of data, whose
// fields are equal. chains name the steps of each column, the first applied
// first: any of "log1p", "minmax", "quantile", the last one of the latter two.
// "" names the steps of columns that are not mentioned, without it "minmax".
// A column without any value is left as it is.
func FitScaler(split Split, chains map[string][]string, data ...*Dataset) (*Scaler, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("telemetry: scaler: no data to fit it to")
	}
	fields := data[0].fields
	for i, d := range data {
		if !slices.Equal(d.fields, fields) {
			return nil, fmt.Errorf("telemetry: scaler: recording %d has fields %v, the first %v", i, d.fields, fields)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(chains)) {
		if name != "" && data[0].Column(name) < 0 {
			return nil, fmt.Errorf("telemetry: scaler: %q is not one of the columns %v", name, fields)
		}
	}
	s := &Scaler{}
	for c, f := range fields {
		kinds, ok := chains[f.Name]
		if !ok {
			kinds, ok = chains[""]
		}
		if !ok {
			kinds = []string{"minmax"}
		}
		if len(kinds) == 0 || kinds[len(kinds)-1] == "log1p" {
			return nil, fmt.Errorf(`telemetry: scaler: %s: %q does not end in [0, 1]: want "minmax" or "quantile" last`, f.Name, kinds)
		}
		var values []float64
		for _, d := range data {
			values = append(values, d.measured(c, split)...)
		}
		slices.Sort(values)
		column := scaledColumn{Field: f}
		for _, kind := range kinds {
			step, err := fitStep(kind, values)
			if err != nil {
				return nil, fmt.Errorf("telemetry: scaler: %s: %w", f.Name, err)
			}
			for i, v := range values { // every step rises, so they stay sorted
				values[i] = step.forward(v)
			}
			column.Steps = append(column.Steps, step)
		}
		s.columns = append(s.columns, column)
	}
	return s, nil
}

// fitStep fits one function to values in ascending order.
func fitStep(kind string, values []float64) (scaleStep, error) {
	s := scaleStep{Kind: kind}
	n := len(values)
	switch kind {
	case "log1p":
	case "minmax":
		if n > 0 {
			s.Low, s.High = values[0], values[n-1]
		}
	case "quantile":
		for i := 0; i < n; {
			j := i + 1
			for j < n && values[j] == values[i] {
				j++
			}
			s.Values = append(s.Values, values[i])
			s.Ranks = append(s.Ranks, float64(i+j-1)/2/float64(max(n-1, 1)))
			i = j
		}
		if k := len(s.Values); k > maxKnots {
			for i := range maxKnots {
				j := i * (k - 1) / (maxKnots - 1)
				s.Values[i], s.Ranks[i] = s.Values[j], s.Ranks[j]
			}
			s.Values, s.Ranks = s.Values[:maxKnots], s.Ranks[:maxKnots]
		}
	default:
		return s, fmt.Errorf(`%q is not one of "log1p", "minmax", "quantile"`, kind)
	}
	return s, nil
}

func (s *scaleStep) span() float64 {
	if s.High > s.Low {
		return s.High - s.Low
	}
	return 1
}

func (s *scaleStep) forward(x float64) float64 {
	switch s.Kind {
	case "log1p":
		return math.Copysign(math.Log1p(math.Abs(x)), x)
	case "minmax":
		return (x - s.Low) / s.span()
	}
	return interpolate(s.Values, s.Ranks, x)
}

func (s *scaleStep) inverse(y float64) float64 {
	switch s.Kind {
	case "log1p":
		return math.Copysign(math.Expm1(math.Abs(y)), y)
	case "minmax":
		return float64(y*s.span()) + s.Low
	}
	return interpolate(s.Ranks, s.Values, y)
}

// interpolate is the linear interpolation at x of ys over ascending xs, and
// the nearest end outside of them; x itself where there are none.
func interpolate(xs, ys []float64, x float64) float64 {
	i := sort.SearchFloat64s(xs, x)
	switch {
	case len(xs) == 0:
		return x
	case i == len(xs):
		return ys[i-1]
	case i == 0 || xs[i] == x:
		return ys[i]
	}
	return ys[i-1] + float64((x-xs[i-1])/(xs[i]-xs[i-1])*(ys[i]-ys[i-1]))
}

// Fields are the columns that the scaler was fitted to.
func (s *Scaler) Fields() []Field {
	var f []Field
	for _, c := range s.columns {
		f = append(f, c.Field)
	}
	return f
}

// Forward scales x of a column; fitted values come to lie in [0, 1].
func (s *Scaler) Forward(column int, x float64) float64 {
	steps := s.columns[column].Steps
	for i := range steps {
		x = steps[i].forward(x)
	}
	return x
}

// Inverse undoes Forward.
func (s *Scaler) Inverse(column int, y float64) float64 {
	steps := s.columns[column].Steps
	for i := range steps {
		y = steps[len(steps)-1-i].inverse(y)
	}
	return y
}

// Scale is Forward in float32, what observations are normalised with.
func (s *Scaler) Scale(column int, x float32) float32 {
	return float32(s.Forward(column, float64(x)))
}

// jsonColumn is a column as JSON writes it.
type jsonColumn struct {
	Name  string      `json:"name"`
	Unit  string      `json:"unit,omitempty"`
	Steps []scaleStep `json:"steps"`
}

// MarshalJSON keeps every number exactly.
func (s *Scaler) MarshalJSON() ([]byte, error) {
	out := make([]jsonColumn, len(s.columns))
	for i, c := range s.columns {
		out[i] = jsonColumn{c.Name, c.Unit, c.Steps}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote, and nothing that could not have
// been fitted.
func (s *Scaler) UnmarshalJSON(b []byte) error {
	var in []jsonColumn
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return fmt.Errorf("telemetry: scaler: %w", err)
	}
	columns := make([]scaledColumn, len(in))
	for i, c := range in {
		for j := range c.Steps {
			if err := c.Steps[j].check(); err != nil {
				return fmt.Errorf("telemetry: scaler: column %d, %q: step %d: %w", i, c.Name, j, err)
			}
		}
		columns[i] = scaledColumn{Field{c.Name, c.Unit}, c.Steps}
	}
	s.columns = columns
	return nil
}

func (s *scaleStep) check() error {
	switch s.Kind {
	case "log1p", "minmax", "quantile":
	default:
		return fmt.Errorf("kind: %q is unknown", s.Kind)
	}
	if s.Kind != "minmax" && (s.Low != 0 || s.High != 0) || s.Low > s.High || math.IsInf(s.High-s.Low, 0) {
		return fmt.Errorf("low %v, high %v do not bound a %s", s.Low, s.High, s.Kind)
	}
	if len(s.Values) != len(s.Ranks) || s.Kind != "quantile" && len(s.Values) > 0 {
		return fmt.Errorf("%d values and %d ranks in a %s", len(s.Values), len(s.Ranks), s.Kind)
	}
	if n := len(s.Values); n > 0 && math.IsInf(s.Values[n-1]-s.Values[0], 0) {
		return fmt.Errorf("values %v to %v span too much", s.Values[0], s.Values[n-1])
	}
	for i := 1; i < len(s.Values); i++ {
		if s.Values[i] <= s.Values[i-1] || s.Ranks[i] <= s.Ranks[i-1] {
			return fmt.Errorf("values and ranks do not rise at %d", i)
		}
	}
	for _, r := range s.Ranks {
		if r < 0 || r > 1 {
			return fmt.Errorf("rank %v is outside of [0, 1]", r)
		}
	}
	return nil
}
