package autoregressive

import (
	"bytes"
	"context"
	"testing"

	"github.com/planegym/planegym/traffic"
)

// What Parse accepts samples valid sessions.
func FuzzParse(f *testing.F) {
	m, err := Fit(context.Background(), toy(8, 1), Config{Hidden: 2, Updates: 1}, traffic.FitOptions{})
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := m.Write(&b, nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(bytes.Replace(b.Bytes(), []byte(`\"sign\":0`), []byte(`\"sign\":2`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil || !m.Done() {
			return
		}
		s, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), traffic.Request{N: 2, MaxSteps: 4}))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Valid(); err != nil {
			t.Fatal(err)
		}
	})
}
