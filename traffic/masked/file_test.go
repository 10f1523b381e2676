package masked

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
)

// No size that training had less than three times is in a model's file, in any
// setting or any tensor of whole numbers.
func TestNothingRareInFile(t *testing.T) {
	data := toy(120, 1)
	rare := map[string]bool{}
	for i := range data.Sessions {
		if i%4 == 0 {
			size := 20011 + 977*i
			data.Sessions[i].Steps[1] = float64(size)
			rare[strconv.Itoa(size)], rare[strconv.Itoa(size+1)] = true, true // up is stored as x+1
		}
	}
	m, err := Fit(context.Background(), data, Config{Hidden: 8, Updates: 3}, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	meta, tensors, err := m.tensors(nil)
	if err != nil {
		t.Fatal(err)
	}
	delete(meta, "format")
	text, err := json.Marshal(meta)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(text), func(r rune) bool { return r < '0' || r > '9' })
	for _, x := range tensors {
		if d, ok := x.Data.([]int32); ok {
			for _, v := range d {
				words = append(words, strconv.Itoa(int(v)))
			}
		}
	}
	if len(words) < 100 {
		t.Fatalf("only %d numbers", len(words))
	}
	for _, w := range words {
		if rare[w] {
			t.Errorf("the file holds %s", w)
		}
	}
}

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
