package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/eval"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/legal"
	"github.com/planegym/planegym/traffic/models"
)

// readCandidates reads what eval judges, each NAME=FILE: a model, a capture, or
// sessions.
func readCandidates(synth []string) (all []eval.Candidate, err error) {
	for _, s := range synth {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return nil, usagef("traffic eval: --synth: %q is not NAME=FILE", s)
		}
		c := eval.Candidate{Name: name}
		switch filepath.Ext(path) {
		case ".safetensors":
			c.Model, err = models.Open(path)
			m := c.Model
			c.Refit = func(ctx context.Context, src traffic.Source, seed uint64) (traffic.Model, error) {
				return models.Refit(ctx, m, src, traffic.FitOptions{Seed: seed})
			}
		case ".pcap", ".pcapng":
			c, err = captured(name, path)
		default:
			c.Set, err = readSessions("--synth", path)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// captured is a capture as a candidate.
func captured(name, path string) (c eval.Candidate, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	c.Name = name
	if c.Set, _, err = flows.Read(bytes.NewReader(b), path, flows.Options{}); err != nil {
		return c, err
	}
	c.Packets, err = legal.Read(bytes.NewReader(b), path)
	return c, err
}
