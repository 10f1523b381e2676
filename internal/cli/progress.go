package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// addProgress gives a command --progress.
func addProgress(cmd *cobra.Command) {
	cmd.Flags().String("progress", "auto", "on stderr: auto (a bar on a terminal), json (an object a line, for programs) or none")
}

// progressMode is --progress; "auto" where a command has no such flag.
func progressMode(cmd *cobra.Command) string {
	if f := cmd.Flags().Lookup("progress"); f != nil {
		return f.Value.String()
	}
	return "auto"
}

// checkProgress refuses a --progress that does not exist.
func checkProgress(cmd *cobra.Command) error {
	modes := []string{"auto", "json", "none"}
	if m := progressMode(cmd); !slices.Contains(modes, m) {
		return usagef("%s: --progress: %q is not one of auto, json, none", cmd.Name(), m)
	}
	return nil
}

// events writes progress as JSON Lines under --progress json; otherwise it
// writes nothing. Every line has the keys event ("progress"), command and
// seconds (since the command began); what is not known yet is left out.
type events struct {
	out   io.Writer // nil: nothing is written
	what  string
	began time.Time
	last  map[string]time.Time // when an object of a key was written last
}

// eventsEvery is the least time between two objects of one key, so that a fast
// command does not fill a disk with its progress.
const eventsEvery = 200 * time.Millisecond

func newEvents(cmd *cobra.Command) *events {
	e := &events{what: cmd.CommandPath()[len("planegym "):], began: time.Now(), last: map[string]time.Time{}}
	if progressMode(cmd) == "json" {
		e.out = cmd.ErrOrStderr()
	}
	return e
}

// emit writes the fields, unless an object of the same key was written just now
// and this one need not be seen. Floats that are NaN or infinite are left out.
func (e *events) emit(key string, must bool, fields map[string]any) {
	if e.out == nil || !must && time.Since(e.last[key]) < eventsEvery {
		return
	}
	e.last[key] = time.Now()
	all := map[string]any{"event": "progress", "command": e.what, "seconds": time.Since(e.began).Seconds()}
	maps.Copy(all, fields)
	maps.DeleteFunc(all, func(_ string, v any) bool {
		f, ok := v.(float64)
		return ok && (math.IsNaN(f) || math.IsInf(f, 0))
	})
	b, err := json.Marshal(all)
	if err != nil {
		return // progress is not worth a failure
	}
	_, _ = e.out.Write(append(b, '\n'))
}

// minutely lets a line of progress through once a minute, for a log file: each
// write is a bar drawn anew.
type minutely struct {
	out  io.Writer
	next time.Time
}

func (m *minutely) Write(b []byte) (int, error) {
	text := strings.TrimSpace(strings.Trim(string(b), "\r\n"))
	if now := time.Now(); text != "" && !now.Before(m.next) {
		m.next = now.Add(time.Minute)
		if _, err := fmt.Fprintln(m.out, text); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// newProgress is a bar with an ETA on stderr, total steps of unit long (-1:
// unknown). Where stderr is not a terminal it is a line a minute; where results are
// JSON, or --progress says so, nothing shows.
// Callers Add to it and Finish it.
func newProgress(cmd *cobra.Command, total int64, unit, what string) *progressbar.ProgressBar {
	var w io.Writer = &minutely{out: cmd.ErrOrStderr(), next: time.Now().Add(time.Minute)}
	if f, ok := cmd.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		w = f
	}
	if total == 0 {
		total = -1 // the bar refuses to count to 0
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetVisibility(!asJSON(cmd) && progressMode(cmd) == "auto"),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine of the bar's races with Add while the total is not known
		progressbar.OptionClearOnFinish(),
	)
}

// progressWriter counts bytes without failing what they come from.
type progressWriter struct{ bar *progressbar.ProgressBar }

func (w progressWriter) Write(b []byte) (int, error) {
	_ = w.bar.Add(len(b))
	return len(b), nil
}
