package models

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/internal/privacy"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/denoise"
	"github.com/planegym/planegym/traffic/doppelganger"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/masked"
	"github.com/planegym/planegym/traffic/rates"
	"github.com/planegym/planegym/traffic/store"
)

var address = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`)

// planted is a capture of sessions of which each has one size and one port that
// no other has, with what may not be found in a model: those numbers, addresses,
// pieces of payload.
func planted(t *testing.T) (set *traffic.Set, rare map[float64]bool, secrets [][]byte) {
	t.Helper()
	made := &traffic.Set{Of: flows.Schema([]string{"a"})}
	rare = map[float64]bool{}
	for i := range 80 {
		// Coarse values, of which denoise and timegan have some, are multiples of 16.
		port, size := float64(9001+37*i), 261+16*(i/2)+5*(i%2)
		meta := []float64{flows.UDP, 0, port, float64(i), float64(i + 1), 0, 1, 1}
		if i%2 == 0 {
			meta[flows.ServerPort] = 53
		} else {
			rare[port] = true
		}
		rare[float64(size)] = true
		x := traffic.Session{Start: float64(i), Meta: meta}
		for k, n := range []int{60, 120, size, 60} {
			x.Steps = flows.Action{Down: k%2 == 1, Size: n, Flags: flows.Data, Gap: .01 * float64(min(k, 1))}.Append(x.Steps)
		}
		made.Sessions = append(made.Sessions, x)
	}
	var file bytes.Buffer
	w, err := pcap.NewWriter(&file, pcap.Raw)
	if err != nil {
		t.Fatal(err)
	}
	_, err = compile.Packets(t.Context(), &made.Of, store.All(made), compile.Options{Raw: true, Neutral: true}, func(at time.Time, ip []byte) error {
		secrets = append(secrets, bytes.Clone(ip[12:20])) // source and destination
		body := ip[28:]
		for j := range body { // payload that is not found by chance
			body[j] = byte(rng.Key{Seed: uint64(len(secrets)), Purpose: rng.Noise}.Uint64(uint32(j)))
		}
		if len(body) >= 48 {
			secrets = append(secrets, bytes.Clone(body[32:48]))
		}
		return w.Write(at, ip)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	set, counts, err := flows.Read(&file, "planted", flows.Options{Label: "a"})
	if err != nil || counts.Packets != 320 || set.Len() != 80 {
		t.Fatalf("%d sessions, %+v, %v", set.Len(), counts, err)
	}
	return set, rare, secrets
}

// No mode's file, of a private fit or another, holds an address, a piece of payload, or a size or a port that
// one session had: no metadata, no tensor says the number.
func TestNothingRareInAnyFile(t *testing.T) {
	set, rare, secrets := planted(t)
	series, _, err := rates.Flows(set, rates.Options{Ticks: 64, Tick: .01})
	if err != nil {
		t.Fatal(err)
	}
	for i := range Kinds {
		k := &Kinds[i]
		t.Run(k.Mode, func(t *testing.T) { nothingRare(t, k, set, series, rare, secrets, false) })
		if k.Mode == "doppelganger" { // of n-grams, package ngram looks: their tokens have numbers of their own
			t.Run(k.Mode+", private", func(t *testing.T) { nothingRare(t, k, set, series, rare, secrets, true) })
		}
	}
}

func nothingRare(t *testing.T, k *Kind, set, series *traffic.Set, rare map[float64]bool, secrets [][]byte, noisy bool) {
	from, settings := set, k.Settings(nil)
	if noisy {
		if err := settings.(*doppelganger.Config).SetPrivacy(8, 1e-3); err != nil {
			t.Fatal(err)
		}
	}
	switch c := settings.(type) { // as small as it goes: classes do not depend on it
	case *autoregressive.Config:
		c.Hidden, c.Updates = 4, 2
	case *masked.Config:
		c.Hidden, c.Updates = 4, 2
	case *doppelganger.Config:
		c.Hidden, c.Updates, c.Batch, c.Checks = 4, 4, 8, 1
	case *denoise.Config:
		c.Hidden, c.Updates, from = 4, 2, series
	case *timegan.Config:
		c.Hidden, c.Embed, c.Super, c.Joint, from = 4, 1, 1, 1, series
	}
	m, err := k.Fit(t.Context(), from, settings, traffic.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if bytes.Contains(b, s) {
			t.Fatalf("the file holds % x of a packet", s)
		}
	}
	numbers := 0
	examine(t, b, func(where string, x float64) {
		// A size is stored as it is or, signed by direction, as ±(x+1).
		numbers++
		if !rare[math.Abs(x)] && !rare[math.Abs(x)-1] {
			return
		}
		if noisy && strings.HasSuffix(where, ".exact") && slices.Contains(slices.Concat(privacy.Sizes, privacy.Ports), int64(x)) {
			return // a public class, which a planted value equals by chance
		}
		t.Errorf("%s holds %v", where, x)
	})
	if numbers < 100 {
		t.Errorf("%d numbers in the file", numbers)
	}
}

// examine calls see for every number of a file of weights.
func examine(t *testing.T, file []byte, see func(string, float64)) {
	t.Helper()
	f, err := safetensors.New(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range f.Metadata {
		if a := address.FindString(text); a != "" {
			t.Errorf("metadata %s holds an address: %s", name, a)
		}
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			walk(name, v, see)
		} else if x, err := strconv.ParseFloat(text, 64); err == nil {
			see(name, x)
		}
	}
	for _, name := range f.Names() {
		if info, _ := f.Info(name); info.Type == "U8" { // a file in the file
			inner := make([]byte, info.Shape[0])
			if err := safetensors.Read(f, name, inner, info.Shape...); err != nil {
				t.Fatal(err)
			}
			examine(t, inner, see)
			continue
		}
		for _, x := range tensor(t, f, name) {
			see(name, x)
		}
	}
}

// walk calls see for every number of a JSON value, but for those of a grid:
// edges that do not depend on the data, which a value may equal by chance.
func walk(where string, v any, see func(string, float64)) {
	switch v := v.(type) {
	case float64:
		see(where, v)
	case []any:
		for _, x := range v {
			walk(where, x, see)
		}
	case map[string]any:
		for name, x := range v {
			if name = strings.ToLower(name); name != "cells" && name != "edges" {
				walk(where+"."+name, x, see)
			}
		}
	}
}

// tensor is a tensor's numbers.
func tensor(t *testing.T, f *safetensors.File, name string) []float64 {
	t.Helper()
	info, _ := f.Info(name)
	switch info.Type {
	case "F32":
		return numbers[float32](t, f, name)
	case "F64":
		return numbers[float64](t, f, name)
	case "I32":
		return numbers[int32](t, f, name)
	case "I64":
		return numbers[int64](t, f, name)
	}
	t.Fatalf("%s is of type %s", name, info.Type)
	return nil
}

func numbers[T safetensors.Number](t *testing.T, f *safetensors.File, name string) []float64 {
	t.Helper()
	info, _ := f.Info(name)
	n := 1
	for _, d := range info.Shape {
		n *= d
	}
	v := make([]T, n)
	if err := safetensors.Read(f, name, v, info.Shape...); err != nil {
		t.Fatal(err)
	}
	all := make([]float64, n)
	for i, x := range v {
		all[i] = float64(x)
	}
	return all
}
