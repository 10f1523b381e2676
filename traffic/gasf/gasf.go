// Package gasf encodes a time series as an image, its Gramian angular summation
// field (Wang and Oates 2015), and decodes the image exactly.
package gasf

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
)

// Field is a series' field and what its values were scaled by.
//
//	x̃ = (x - Min)/(Max - Min) in [0, 1];  φ = arccos x̃
//	Cells[i·N+j] = cos(φ_i + φ_j) = x̃_i·x̃_j - √(1-x̃_i²)·√(1-x̃_j²)
type Field struct {
	N        int
	Cells    []float64 // [N,N], row-major
	Min, Max float64   // of the series
}

// Of is the field of a series of finite numbers.
func Of(series []float64) (*Field, error) {
	if len(series) == 0 {
		return nil, errors.New("gasf: the series is empty")
	}
	f := &Field{N: len(series), Cells: make([]float64, len(series)*len(series)), Min: math.Inf(1), Max: math.Inf(-1)}
	for i, x := range series {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("gasf: value %d is %v", i, x)
		}
		f.Min, f.Max = min(f.Min, x), max(f.Max, x)
	}
	if math.IsInf(f.Max-f.Min, 0) {
		return nil, errors.New("gasf: the series' range is larger than a float64")
	}
	scaled, sine := make([]float64, f.N), make([]float64, f.N)
	for i, x := range series {
		if f.Max > f.Min {
			scaled[i] = (x - f.Min) / (f.Max - f.Min)
		}
		sine[i] = math.Sqrt((1 - scaled[i]) * (1 + scaled[i]))
	}
	for i := range f.N {
		for j := range f.N {
			f.Cells[i*f.N+j] = scaled[i]*scaled[j] - sine[i]*sine[j]
		}
	}
	return f, nil
}

// Series is the series of a field, from its diagonal: cos 2φ = 2x̃² - 1, so x̃ =
// √((d+1)/2), which is exact because x̃ is not negative.
func (f *Field) Series() []float64 {
	s := make([]float64, f.N)
	for i := range s {
		d := min(max(f.Cells[i*f.N+i], -1), 1)
		s[i] = f.Min + math.Sqrt((d+1)/2)*(f.Max-f.Min)
	}
	return s
}

// WritePNG draws the field in 16 bits of grey, -1 black and 1 white. A picture
// cannot be read back exactly: it is a view.
func (f *Field) WritePNG(w io.Writer) error {
	m := image.NewGray16(image.Rect(0, 0, f.N, f.N))
	for i := range f.N {
		for j := range f.N {
			m.SetGray16(j, i, color.Gray16{Y: uint16(math.Round((min(max(f.Cells[i*f.N+j], -1), 1) + 1) / 2 * 65535))})
		}
	}
	return png.Encode(w, m)
}
