package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/deploy"
	"github.com/planegym/planegym/p4"
)

func newCollect() *cobra.Command {
	d := deployment{name: "collect"}
	var limit int
	var dir string
	var parquet bool
	var impossible float64
	cmd := &cobra.Command{
		Use:   "collect --scenario FILE (--limit N | --policy POLICY)",
		Short: "Record what live switches and a player tell",
		Long: `collect records live switches while a limit, or a policy, is in force on them. It
acts as deploy does, with the same rails, guard and journal. It writes, in the
published formats,

  int_N.csv   every report of the probes, a line each
  dash_N.csv  every sample of the player
  grid_N.csv  the join of the two, second by second: what fit, play and serve read

for the limit N; under a policy, whose limit varies, the first two are named
int.csv and dash.csv and there is no third. Nothing is recorded while another
limit is in force, as after a fault: those seconds are gaps. --parquet keeps the
episodes too, for train --offline: each step is on disk as it comes, in
episodes.parquet.rows, and becomes episodes.parquet when the run ends, or when the
next one begins after a kill. A file that is there is never replaced: the next is
episodes-2.parquet.`,
		Example: `  planegym collect --scenario lab.toml --limit 32 --for 1h -o recordings
  planegym collect --scenario lab.toml --policy alternate --for 2h -o recordings --parquet`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case (limit == 0) == (d.policy == ""):
				return usagef("collect: give --limit N, or --policy POLICY")
			case limit != 0:
				d.policy = fmt.Sprint("fixed:", limit)
			}
			if !(impossible >= 0 && impossible <= 1) {
				return usagef("collect: --max-impossible: %v is not a share from 0 to 1", impossible)
			}
			if d.journal == "" {
				if err := os.MkdirAll(dir, 0o777); err != nil {
					return fmt.Errorf("collect: --out: %w", err)
				}
				d.journal = filepath.Join(dir, "collect.jsonl")
			}
			d.record = &deploy.Record{Dir: dir, Limit: p4.Limit(limit), MaxImpossible: cmp.Or(impossible, -1)}
			if d.endless = !parquet; parquet {
				d.episodes = filepath.Join(dir, "episodes.parquet")
			}
			return d.run(cmd)
		},
	}
	d.add(cmd)
	f := cmd.Flags()
	journal := f.Lookup("journal") // beside the recordings, apart from deploy's
	d.journal, journal.DefValue, journal.Usage = "", "", "file to append every action to; default: collect.jsonl in --out"
	f.IntVar(&limit, "limit", 0, "queue limit to keep in force, packets")
	f.StringVar(&d.policy, "policy", "", "policy that sets the limits: a file that train wrote, or a baseline")
	f.StringVarP(&dir, "out", "o", ".", "folder to write to")
	addImpossible(cmd, &impossible)
	f.BoolVar(&parquet, "parquet", false, "keep the episodes too, as episodes.parquet")
	return cmd
}
