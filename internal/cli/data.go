package cli

import (
	"errors"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/settings"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/sessions"
)

// bundledData and mixedData are the --data of the bundled sessions: limits drawn
// for two minutes at a time, or for blocks of 4 to 240 s.
const (
	bundledData = "bundled"
	mixedData   = "bundled-mixed"
)

// recordings reads --data: a folder of recordings under one limit each, or
// sessions that testbed record wrote, their folder or their .parquet file. At
// most 5 % of a column may be impossible.
func recordings(command, dir string) ([]telemetry.Recording, error) {
	all, err := readRecordings(command, dir)
	if err != nil {
		return nil, err
	}
	return all, plausible(all, telemetry.MaxRefused)
}

// plausible is an error if more than a share of a recording's column is
// impossible.
func plausible(all []telemetry.Recording, share float64) error {
	for _, r := range all {
		if err := r.Data.Reading().Check(share); err != nil {
			return err
		}
	}
	return nil
}

// readRecordings is recordings, however much of them is impossible.
func readRecordings(command, dir string) ([]telemetry.Recording, error) {
	switch dir {
	case "":
		return nil, usagef("%s: no recordings: name their folder by --data or PLANEGYM_DATA", command)
	case mixedData:
		return sessions.Decode(scenarios.Mixed())
	case bundledData:
		return sessions.Decode(scenarios.Sessions())
	}
	all, err := sessions.Open(dir)
	if errors.Is(err, syscall.ENOTDIR) {
		err = usagef("%s: --data: %s is a file: --data names a folder of recordings, or sessions' .parquet; commands with --csv read any CSV", command, dir)
	}
	return all, err
}

// constant is recordings of which each was made under one limit.
func constant(command, dir string) ([]telemetry.Recording, error) {
	all, err := recordings(command, dir)
	for _, r := range all {
		if r.Limits != nil {
			return nil, usagef("%s: --data: in %s the limit changes within a session: %s needs one limit a recording", command, dir, command)
		}
	}
	return all, err
}

// set sets what KEY=VALUE pairs of --set say.
func set(command string, pairs []string, into any) error {
	if err := settings.Pairs(pairs, into); err != nil {
		return usagef("%s: --set: %w", command, err)
	}
	return nil
}

// inFolder joins a folder and names.
func inFolder(dir string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = filepath.Join(dir, n)
	}
	return out
}

// addImpossible adds the flag that bounds what may be impossible in a file.
func addImpossible(cmd *cobra.Command, share *float64) {
	cmd.Flags().Float64Var(share, "max-impossible", telemetry.MaxRefused, "share of a column's values that may be impossible (they count as not measured), 0 to 1")
}

// tellReading prints what was passed over in a recording's files, and is an
// error if that is more than a share of a column.
func tellReading(cmd *cobra.Command, data *telemetry.Dataset, share float64) error {
	r := data.Reading()
	for _, n := range r.Notes() {
		cmd.PrintErrln(n)
	}
	return r.Check(share)
}
