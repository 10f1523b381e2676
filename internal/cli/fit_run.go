package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/planegym/planegym/internal/settings"
	"github.com/planegym/planegym/telemetry"
)

func (f *fitter) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	release, err := lockOutput("fit: --output", f.out)
	if err != nil {
		return err
	}
	defer release()
	open, err := f.trainer()
	if err != nil {
		return err
	}
	data, err := f.recordings(cmd)
	if err != nil {
		return err
	}
	switch f.mode {
	case "closed_loop":
		return f.closedLoop(cmd, data)
	case "structured":
		return f.structured(cmd, data, open)
	}
	return f.timegan(cmd, data, open)
}

// check finds flags that contradict each other, and chooses what is fitted.
func (f *fitter) check(cmd *cobra.Command) error {
	if err := checkProgress(cmd); err != nil {
		return err
	}
	if f.out == "" {
		return usagef("fit: --output: name what to write")
	}
	if err := checkOutput("fit: --output", f.out, ".safetensors"); err != nil {
		return err
	}
	if f.resume && f.force {
		return usagef("fit: --resume, --force: one or the other")
	}
	if f.every < 1 {
		return usagef("fit: --every: %d is below 1", f.every)
	}
	if f.any.file != "" {
		if f.mode != "" && f.mode != "timegan" {
			return usagef("fit: --csv: --mode %s is for recordings of switches: timegan models any columns", f.mode)
		}
		f.mode = "timegan"
		if f.window == 0 {
			f.window = 24
		}
		f.sets = append([]string{fmt.Sprint("window=", f.window)}, f.sets...)
	} else if f.window != 0 || f.any.given() {
		return usagef("fit: --window, --time, --condition, --columns: are of --csv")
	}
	if f.mode == "" {
		f.mode = "closed_loop"
		if f.preset != "" || f.limit != 0 {
			f.mode = "timegan" // what these mean something to
		}
	}
	if !slices.Contains([]string{"closed_loop", "timegan", "structured"}, f.mode) {
		return usagef("fit: --mode: %q is not one of closed_loop, timegan, structured", f.mode)
	}
	if (f.from != "" || f.ensemble != 0) && f.mode != "closed_loop" {
		return usagef("fit: --from, --ensemble: are of --mode closed_loop, not %s", f.mode)
	}
	return nil
}

// recordings are what is fitted to: what --limit and --shuffle-limits leave of the
// data.
func (f *fitter) recordings(cmd *cobra.Command) ([]telemetry.Recording, error) {
	data, err := f.read(cmd)
	if err != nil {
		return nil, err
	}
	if f.limit != 0 {
		all := telemetry.LimitsOf(data)
		data = slices.DeleteFunc(data, func(r telemetry.Recording) bool { return r.Limit != f.limit })
		if len(data) == 0 {
			return nil, usagef("fit: --limit: there is no recording of limit %d, only of %v", f.limit, all)
		}
	}
	if f.shuffle != 0 {
		if data, err = telemetry.ShuffleLimits(data, f.shuffle); err != nil {
			return nil, usagef("fit: --shuffle-limits: %w", err)
		}
	}
	return data, nil
}

// read reads --data or --csv, and prints what of it was passed over.
func (f *fitter) read(cmd *cobra.Command) ([]telemetry.Recording, error) {
	if f.any.file != "" && cmd.Flags().Changed("data") {
		return nil, usagef("fit: --csv, --data: one or the other")
	} else if f.any.file != "" {
		return f.any.read(cmd)
	}
	data, err := readRecordings("fit", f.data)
	if err != nil {
		return nil, err
	}
	for _, r := range data {
		if err := tellReading(cmd, r.Data, f.impossible); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// refuseLoss reports an output that is there and would be lost; remedy says what to
// do about it.
func (f *fitter) refuseLoss(remedy string) error {
	if _, err := os.Stat(f.out); !f.force && !f.resume && !errors.Is(err, fs.ErrNotExist) {
		return usagef("fit: %s already exists: %s", f.out, remedy)
	}
	return nil
}

// settings applies --config and --set to a mode's settings, and checks them.
func (f *fitter) settings(c interface{ Check() error }) error {
	if f.config != "" {
		if err := settings.File(f.config, c); err != nil {
			return fmt.Errorf("%w (settings of --mode %s)", err, f.mode)
		}
	}
	if err := set("fit", f.sets, c); err != nil {
		return fmt.Errorf("%w (settings of --mode %s)", err, f.mode)
	}
	if err := c.Check(); err != nil {
		return usagef("fit: %w", err)
	}
	return nil
}
