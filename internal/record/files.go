package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/telemetry"
)

// write writes session k's files.
func (r *recorder) write(dir string, k int, l *testbed.Log) error {
	name := fmt.Sprintf("%03d", k)
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		return err
	}
	start := r.began.Add(time.Duration(k*r.Seconds) * time.Second)
	var probes, player bytes.Buffer
	if err := l.WriteINT(&probes, start); err != nil {
		return err
	}
	if err := l.WriteDASH(&player, start); err != nil {
		return err
	}
	ints, err := telemetry.NewReader(bytes.NewReader(probes.Bytes()), "int.csv", telemetry.INT)
	if err != nil {
		return err
	}
	dash, err := telemetry.NewReader(bytes.NewReader(player.Bytes()), "dash.csv", telemetry.DASH)
	if err != nil {
		return err
	}
	how := telemetry.MaxTimedelta1
	if r.Scenario.Testbed.Probe.Aggregate == string(telemetry.Mean) {
		how = telemetry.Mean
	}
	joined, err := telemetry.Join(ints, dash, how)
	if err != nil {
		return err
	}
	grid := "grid.csv"
	if n := l.Limit(); n > 0 {
		grid = fmt.Sprintf("grid_%d.csv", n)
		values, valid := make([]float32, joined.Len()*len(joined.Fields())), make([]bool, joined.Len()*len(joined.Fields()))
		joined.Copy(0, values, valid)
		if joined, err = telemetry.NewDataset(joined.Fields(), int(n), joined.Start(), values, valid); err != nil {
			return err
		}
	}
	type file struct {
		name  string
		write func(io.Writer) error
	}
	files := []file{
		{"int.csv", func(w io.Writer) error { _, err := w.Write(probes.Bytes()); return err }},
		{"dash.csv", func(w io.Writer) error { _, err := w.Write(player.Bytes()); return err }},
		{"rows.csv", l.WriteRows},
		{grid, joined.EncodeCSV},
	}
	if r.Pcap {
		files = append(files, file{"probes.pcap", func(w io.Writer) error { return l.WritePcap(w, start) }})
	}
	for _, f := range files {
		if err := r.file(dir, filepath.Join(name, f.name), f.write); err != nil {
			return err
		}
	}
	r.count(l)
	return nil
}

// file writes a file and remembers it for the card.
func (r *recorder) file(dir, name string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	h := sha256.New()
	if err := write(io.MultiWriter(f, h)); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	r.card.files = append(r.card.files, fmt.Sprintf("| %s | %d | %s |", filepath.ToSlash(name), st.Size(), hex.EncodeToString(h.Sum(nil))))
	return f.Sync()
}
