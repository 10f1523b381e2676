package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/rates"
	"github.com/planegym/planegym/traffic/store"
)

// device is what a capture of NEMEA-SIoT is of, by its name.
func device(name string) string {
	switch {
	case strings.Contains(name, "homekit"):
		return "homekit"
	case strings.HasPrefix(name, "google"):
		return "assistant"
	case strings.HasPrefix(name, "wireshark"):
		return "gateway"
	}
	return "camera"
}

// siot is windows of 128 ticks of the captures below a folder, by device.
func siot(dir string, tick float64) (*traffic.Set, error) {
	var files []string
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".json" {
			files = append(files, path)
		}
		return err
	}); err != nil {
		return nil, err
	}
	slices.Sort(files)
	var sets []*traffic.Set
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		set, _, err := flows.ReadSIoT(f, filepath.Base(path))
		f.Close()
		if err != nil {
			return nil, err
		}
		series, _, err := rates.Windows(set, device(filepath.Base(path)), rates.Options{Tick: tick})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if series.Len() > 0 {
			sets = append(sets, series)
		}
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("%s: there is no capture of NEMEA-SIoT", dir)
	}
	return traffic.Merge(0, sets...)
}

// mirage is a series of 128 ticks of 10 ms of every labelled flow of a file.
func mirage(path string) (*traffic.Set, error) {
	f, err := store.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set, _, err := rates.Flows(f, rates.Options{})
	if err != nil {
		return nil, err
	}
	set.Sessions = slices.DeleteFunc(set.Sessions, func(s traffic.Session) bool { return s.Label < 0 })
	return set, nil
}
