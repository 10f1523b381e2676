package cli

import (
	"iter"
	"math"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/files"
	"github.com/planegym/planegym/traffic/models"
)

func newTrafficSample() *cobra.Command {
	var s trafficSampler
	cmd := &cobra.Command{
		Use:   "sample [MODEL]",
		Short: "Sample sessions of a model, as a table or as packets",
		Long: `sample draws sessions of MODEL, or of the bundled model where none is given: a
recurrent network (fit --mode autoregressive) of the flows of NEMEA-SIoT (CESNET,
BSD-3) and of captures of netFound, NetSSM (MIT) and nPrint (Apache-2.0).
"bundled-ngram" is the n-gram of the same flows. Session i depends on model, seed,
labels and i alone; of learned models on the kernels of the processor, too.

The output's ending decides: .parquet and .csv for sessions, .pcap for packets,
.nprint for nPrint's table of their header bits, .png for the Gramian angular
field of the bytes a tenth of a second.`,
		Example: `  planegym traffic sample -n 1000 -o load.pcap
  planegym traffic sample model.safetensors -n 10000 --label netflix --seed 7 -o s.parquet
  planegym traffic sample -n 100 --rate 50 -o s.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("traffic sample takes one MODEL, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args) },
	}
	f := cmd.Flags()
	f.IntVarP(&s.request.N, "n", "n", 1000, "sessions")
	f.StringSliceVar(&s.labels, "label", nil, "labels, taken in turn; default: as often as in training")
	f.Uint64Var(&s.request.Seed, "seed", 0, "picks the sessions")
	f.IntVar(&s.request.MaxSteps, "max-steps", 0, "steps of a session at most")
	f.Float64Var(&s.rate, "rate", 0, "sessions a second, Poisson; default: as the model spaces them, 20 of the bundled one")
	f.StringVarP(&s.out, "output", "o", "", "file to write: .parquet, .csv, .pcap, .nprint or .png (required)")
	f.IntVar(&s.writing.Packets.MTU, "mtu", 1500, "of .pcap: bytes of an IP packet")
	f.BoolVar(&s.writing.Faithful, "faithful", false, "of .nprint: the header bits as the model says them, nothing repaired; for models of convert --headers")
	return cmd
}

type trafficSampler struct {
	request traffic.Request
	labels  []string
	rate    float64
	out     string
	writing files.Writing
}

func (s *trafficSampler) run(cmd *cobra.Command, args []string) error {
	switch err := files.CheckEnding(s.out, files.Endings...); {
	case s.out == "":
		return usagef("traffic sample: --output: where should the sessions go?")
	case err != nil:
		return usagef("traffic sample: --output: %w", err)
	case s.writing.Faithful && filepath.Ext(s.out) != ".nprint":
		return usagef("traffic sample: --faithful: header bits go to a table: --output NAME.nprint")
	case s.request.N < 1:
		return usagef("traffic sample: --n: %d sessions", s.request.N)
	case !(s.rate >= 0 && s.rate < 1e9):
		return usagef("traffic sample: --rate: %v", s.rate)
	case cmd.Flags().Changed("label") && len(s.labels) == 0:
		return usagef("traffic sample: --label: it names no label")
	}
	if err := prepareOutput("traffic sample: --output", s.out); err != nil {
		return err
	}
	path := ""
	if len(args) == 1 {
		path = args[0]
	} else if !cmd.Flags().Changed("rate") {
		s.rate = 20 // its captures lie days apart
	}
	m, err := models.Open(path)
	if err != nil {
		return err
	}
	if s.request.Labels, err = labelIndices(m.Schema(), s.labels); err != nil {
		return err
	}
	if err := s.request.Check(m.Schema()); err != nil {
		return usageError{err}
	}
	s.writing.Seed = s.request.Seed
	bar := newProgress(cmd, int64(s.request.N), "sessions", "sample")
	i, start := uint32(0), 0.
	sessions := watched(m.Sample(cmd.Context(), s.request), func(x *traffic.Session) {
		if s.rate > 0 {
			start -= math.Log1p(-rng.Key{Seed: s.request.Seed, A: i, B: 1, Purpose: rng.SessionStart}.Float64(0)) / s.rate
			x.Start = start
		}
		i++
		_ = bar.Add(1)
	})
	return writeTraffic(cmd, s.out, m.Schema(), sessions, &s.writing, bar.Finish)
}

// writeTraffic writes sessions by the path's ending, and says what became of them.
func writeTraffic(cmd *cobra.Command, path string, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error], o *files.Writing, done func() error) error {
	if m := o.Packets.MTU; m < 576 || m > 65535 {
		return usagef("traffic: --mtu: %d is outside 576…65535", m)
	}
	r, err := o.Write(cmd.Context(), path, c, sessions)
	if err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	if asJSON(cmd) {
		return writeJSON(cmd.OutOrStdout(), r)
	}
	return r.WriteText(cmd.OutOrStdout())
}

// watched calls see with every session on its way.
func watched(in iter.Seq2[traffic.Session, error], see func(*traffic.Session)) iter.Seq2[traffic.Session, error] {
	return func(yield func(traffic.Session, error) bool) {
		for s, err := range in {
			if err == nil {
				see(&s)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}
