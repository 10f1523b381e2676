package main

import (
	"encoding/csv"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/netflow"
)

// files are rows of records that were generated elsewhere: by name, a file for each
// split.
type files map[string][]string

func (f files) add(text string) error {
	name, list, ok := strings.Cut(text, "=")
	if !ok || name == "" || list == "" {
		return fmt.Errorf("%q is not NAME=FILE and a file for each further split, with commas between", text)
	}
	if f[name] != nil {
		return fmt.Errorf("a second row %q", name)
	}
	f[name] = strings.Split(list, ",")
	return nil
}

func (f files) names() []string { return slices.Sorted(maps.Keys(f)) }

// read reads all files before anything is fitted. An address of the real records is
// the same one there. The others take the ranks that the file leaves free, the one in
// most records the lowest, as a model does that draws ranks and not addresses.
func (f files) read(real []netflow.Record, of traffic.Schema, seeds int) (map[string][]*traffic.Set, error) {
	sets := map[string][]*traffic.Set{}
	known := netflow.Popular(real)
	for _, name := range f.names() {
		if len(f[name]) != seeds {
			return nil, fmt.Errorf("-row %s: %d files for %d splits", name, len(f[name]), seeds)
		}
		for _, path := range f[name] {
			records, err := readRecords(path)
			if err != nil {
				return nil, fmt.Errorf("-row %s: %w", name, err)
			}
			if len(records) == 0 {
				return nil, fmt.Errorf("-row %s: %s has no records", name, path)
			}
			of := of
			if !slices.ContainsFunc(records, func(r netflow.Record) bool { return r.Type != "" }) {
				of.Steps = slices.DeleteFunc(slices.Clone(of.Steps), func(f traffic.Field) bool { return f.Name == "type" })
			}
			set, err := netflow.SessionsOf(records, of, ranks(known, netflow.Popular(records)))
			if err != nil {
				return nil, fmt.Errorf("-row %s: %s: %w", name, path, err)
			}
			sets[name] = append(sets[name], set)
		}
	}
	return sets, nil
}

func ranks(known, generated []netip.Addr) map[netip.Addr]float64 {
	rank, taken := map[netip.Addr]float64{}, map[int]bool{}
	for i, a := range known {
		if slices.Contains(generated, a) {
			rank[a], taken[i] = float64(i), true
		}
	}
	next := 0
	for _, a := range generated {
		if _, ok := rank[a]; ok {
			continue
		}
		for taken[next] {
			next++
		}
		rank[a] = float64(next)
		next++
	}
	return rank
}

func readRecords(path string) ([]netflow.Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return netflow.ReadCSV(f, path, netflow.Options{})
}

// writeHalves writes, for each split, the lines of the file whose sessions are in
// the half that rows are fitted to.
func writeHalves(path string, records []netflow.Record, first, seeds int, folder string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	groups := netflow.Group(records)
	for seed := first; seed < first+seeds; seed++ {
		var in []int
		for _, i := range chosen(len(groups), uint64(seed)) {
			in = append(in, groups[i]...)
		}
		slices.Sort(in) // as in the file
		half := [][]string{lines[0]}
		for _, i := range in {
			half = append(half, lines[1+i])
		}
		name := filepath.Join(folder, fmt.Sprintf("half-%d.csv", seed))
		var text strings.Builder
		if err := csv.NewWriter(&text).WriteAll(half); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text.String()), 0o644); err != nil {
			return err
		}
		fmt.Printf("%s: %d records of %d sessions\n", name, len(in), len(groups)/2)
	}
	return nil
}
