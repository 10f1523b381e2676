package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/store"
)

func newTraffic() *cobra.Command {
	group := &cobra.Command{
		Use:   "traffic",
		Short: "Generate network traffic: from captures to a model to legal packets",
		Long: `traffic turns captures and flow records into sessions of actions (direction,
size, flag, gap of each packet), fits models to them, samples new sessions, makes
legal packets of them and says how far they are from real ones. Sessions are the
load of a testbed, [[testbed.load]] kind = "sessions", and as a capture that of
live switches.`,
		Example: `  planegym traffic sample -n 1000 -o load.pcap
  planegym traffic convert *.pcap --label file -o sessions.parquet
  planegym traffic fit --data sessions.parquet -o model.safetensors
  planegym traffic sample model.safetensors -n 10000 --label netflix -o s.parquet
  planegym traffic eval --real sessions.parquet --synth mine=s.parquet
  planegym traffic compile s.parquet -o s.pcap
  planegym traffic replay s.pcap --interface veth0`,
	}
	group.AddCommand(newTrafficConvert(), newTrafficFit(), newTrafficSample(), newTrafficCompile(), newTrafficEval(), newTrafficReplay())
	return group
}

// readSessions reads a Parquet file of sessions.
func readSessions(flag, path string) (*traffic.Set, error) {
	s, err := store.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usageError{fmt.Errorf("traffic: %s: %w", flag, err)}
	case err != nil && filepath.Ext(path) != ".parquet":
		return nil, fmt.Errorf("%w: planegym traffic convert makes Parquet files of captures and flow records", err)
	}
	return s, err
}

// labelIndices are labels by name.
func labelIndices(c *traffic.Schema, names []string) ([]int, error) {
	var out []int
	for _, n := range names {
		i := slices.Index(c.Labels, n)
		if i < 0 {
			if len(c.Labels) == 0 {
				return nil, usagef("traffic: --label: the sessions have no labels")
			}
			return nil, usagef("traffic: --label: %q is not one of %s", n, quoted(c.Labels))
		}
		out = append(out, i)
	}
	return out, nil
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}
