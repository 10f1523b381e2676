package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"os"

	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// export writes what the network sees of both sets, for bench/autoregressive.py:
// a line of JSON, then int32: of each session its label, its steps, and the
// classes of the first steps of them, -1 behind.
func export(path string, train, held *traffic.Set) error {
	codec, err := tokens.New(train, tokens.Options{})
	if err != nil {
		return err
	}
	census := codec.NewCensus(train, 0)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	var sizes []int
	for i := range codec.Steps {
		sizes = append(sizes, codec.Steps[i].Len())
	}
	shares := 0. // ln of the probability of held-out values within their classes, which no network changes
	for i := range held.Sessions {
		for t := range held.Of.Len(&held.Sessions[i]) {
			row := held.Of.Step(&held.Sessions[i], t)
			for k := range codec.Steps {
				shares += codec.Steps[k].LogShare(codec.Steps[k].Encode(row), row)
			}
		}
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"sizes": sizes, "labels": len(train.Of.Labels), "steps": census.Longest, "cut": census.MaxSteps,
		"train": train.Len(), "held": held.Len(), "shares": shares}); err != nil {
		return err
	}
	for _, s := range []*traffic.Set{train, held} {
		for i := range s.Sessions {
			x := &s.Sessions[i]
			row := []int32{int32(x.Label), int32(s.Of.Len(x))}
			row = append(row, codec.Classes(x, nil)...)
			for len(row) < 2+census.Longest*len(codec.Steps) {
				row = append(row, -1)
			}
			if err := binary.Write(w, binary.LittleEndian, row[:2+census.Longest*len(codec.Steps)]); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}
