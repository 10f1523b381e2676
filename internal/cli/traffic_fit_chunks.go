package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/timegan/sweep"
	"github.com/planegym/planegym/traffic/doppelganger"
)

// setChunk applies --chunk.
func (f *trafficFitter) setChunk(settings any) error {
	if f.chunk == "" {
		return nil
	}
	c, ok := settings.(interface{ SetChunk(k, n int) })
	if !ok {
		return usagef("traffic fit: --chunk: mode %s knows no chunks: doppelganger and doppelganger-likelihood do", f.mode)
	}
	k, n, err := sweep.ParseShard(f.chunk)
	if err != nil {
		return usagef("traffic fit: --chunk: %w", err)
	}
	c.SetChunk(k, n)
	return nil
}

// listChunks says what each of the chunks that --chunk names has.
func (f *trafficFitter) listChunks(cmd *cobra.Command) error {
	var c doppelganger.Config
	switch {
	case f.data == "":
		return usagef("traffic fit: --data: which sessions?")
	case f.chunk == "":
		return usagef("traffic fit: --list: --chunk K/N: of how many chunks?")
	}
	if err := f.setChunk(&c); err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return usageError{err}
	}
	s, err := readSessions("--data", f.data)
	if err != nil {
		return err
	}
	shares, err := doppelganger.Shares(s, c.Chunks)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"data": f.data, "chunks": shares})
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "chunk\tfrom s\tto s\tsessions\trecords\tsessions that go on later\t")
	for _, x := range shares {
		fmt.Fprintf(w, "%d\t%.6g\t%.6g\t%d\t%d\t%d\t\n", x.Chunk, x.From, x.To, x.Sessions, x.Records, x.Later)
	}
	return w.Flush()
}
