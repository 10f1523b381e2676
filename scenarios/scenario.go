// Package scenarios describes experiments: one scenario, one TOML file. The
// bundled ones are embedded.
package scenarios

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/planegym/planegym/env/plant/replay"
	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/env/queues"
	"github.com/planegym/planegym/internal/nearest"
	"github.com/planegym/planegym/internal/nesting"
	"github.com/planegym/planegym/internal/unsigned"
)

// Scenario is one experiment as data.
type Scenario struct {
	Name        string         `toml:"name"`        // the file's, where it gives none
	Description string         `toml:"description"` // one line
	Plant       string         `toml:"plant"`       // "cartpole", "replay", "synthetic", "testbed" or "live"
	Model       string         `toml:"model"`       // where Plant is "synthetic": a bundled model, or a .safetensors file; where it is "testbed": the model on whose scale observations are, "" is the testbed's own
	Env         queues.Config  `toml:"env"`         // how the environment is stepped, observed and rewarded
	Replay      replay.Config  `toml:"replay"`      // where Plant is "replay"
	Testbed     testbed.Config `toml:"testbed"`     // where Plant is "testbed"
	Live        Live           `toml:"live"`        // where Plant is "live"
}

// ErrUnknown is the error of a name that is neither bundled nor a file.
var ErrUnknown = errors.New("unknown scenario")

// Model recorded was made of the tutorial's recordings, in the folder
// PLANEGYM_DATA; sessions.parquet on the emulated testbed, and model synthetic
// of it:
//
//go:generate go run ../cmd/planegym fit --mode timegan --kernels avx2 --weights-only --force --credit "Recordings: Tavares, Castro, Almeida, Silva, Rothenberg, Verdi, SBRC 2024, BSD 3-Clause" -o bundled/recorded.safetensors
//go:generate go run ../cmd/planegym testbed record --scenario contended --schedule switchback --block-s 120 --sessions 10 --seed 1001 -o .sessions
//go:generate mv .sessions/recording.parquet bundled/sessions.parquet
//go:generate rm -r .sessions
//go:generate go run ../cmd/planegym fit --mode structured --data bundled/sessions.parquet --kernels avx2 --force --credit "Recordings: planegym's emulated testbed, scenario contended" -o bundled/synthetic.safetensors
//go:generate go run ../cmd/planegym testbed record --scenario contended --schedule mixed --sessions 10 --seed 2001 -o .mixed
//go:generate mv .mixed/recording.parquet bundled/mixed.parquet
//go:generate rm -r .mixed
//go:generate go run ../cmd/planegym fit --data bundled/mixed.parquet --kernels avx2 --force --credit "Recordings: planegym's emulated testbed, scenario contended" -o bundled/closedloop.safetensors

// The bundled agent trained in what is served by default, scenario closed-loop:
//
//go:generate go run ../cmd/planegym train --scenario closed-loop --steps 30000 --seed 1 --kernels avx2 --out .agent
//go:generate mv .agent/policy.safetensors bundled/agent.safetensors
//go:generate rm -r .agent

//go:embed bundled/*.toml bundled/*.safetensors bundled/sessions.parquet bundled/mixed.parquet
var bundled embed.FS

// Names lists the bundled scenarios, sorted.
func Names() []string {
	files, err := fs.Glob(bundled, "bundled/*.toml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".toml")
	}
	slices.Sort(files)
	return files
}

// Source is the TOML text of a bundled scenario, or of a file where name ends
// in .toml.
func Source(name string) ([]byte, error) {
	if strings.HasSuffix(name, ".toml") {
		text, err := readFile(name, maxSource)
		if err != nil {
			return nil, fmt.Errorf("scenarios: %w", err)
		}
		return text, nil
	}
	text, err := bundled.ReadFile("bundled/" + name + ".toml")
	if err != nil {
		return nil, fmt.Errorf("scenarios: %w: %q is not one of %s, nor a .toml file", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	return text, nil
}

// The largest files of scenarios and models that are read, in bytes.
const (
	maxSource = 1 << 20
	maxModel  = 4 << 30
)

// readFile reads a regular file of at most most bytes. A pipe or a device, which
// might give no end, is refused before it is opened.
func readFile(name string, most int64) ([]byte, error) {
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case info.Size() > most:
		return nil, fmt.Errorf("%s has %d bytes; the most is %d", name, info.Size(), most)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return b, err
}

// OpenModel gives the checkpoint of a bundled model, or of a file where name
// ends in .safetensors.
func OpenModel(name string) ([]byte, error) {
	var b []byte
	var err error
	if strings.HasSuffix(name, ".safetensors") {
		b, err = readFile(name, maxModel)
	} else if b, err = bundled.ReadFile("bundled/" + name + ".safetensors"); err != nil {
		return nil, fmt.Errorf("scenarios: model: %w: %q is neither a bundled model nor a .safetensors file", ErrUnknown, name)
	}
	if err != nil {
		return nil, fmt.Errorf("scenarios: model: %w", err)
	}
	return b, nil
}

// Sessions are the bundled recordings, ten hours of scenario contended under
// limits drawn for two minutes at a time: a table that telemetry/sessions reads.
func Sessions() []byte {
	b, err := bundled.ReadFile("bundled/sessions.parquet")
	if err != nil {
		panic(err) // it is embedded
	}
	return b
}

// Mixed are as Sessions, under limits drawn for blocks of 4 to 240 s: what a
// closed-loop model learns most from.
func Mixed() []byte {
	b, err := bundled.ReadFile("bundled/mixed.parquet")
	if err != nil {
		panic(err) // it is embedded
	}
	return b
}

// Agent is the checkpoint of the bundled agent, a double DQN that was trained in
// scenario closed-loop; agent.LoadBytes reads it.
func Agent() []byte {
	b, err := bundled.ReadFile("bundled/agent.safetensors")
	if err != nil {
		panic(err) // it is embedded
	}
	return b
}

// Load reads a scenario: a bundled one by name, or the file where name ends
// in .toml. Paths in a file are relative to the file's own folder.
func Load(name string) (Scenario, error) {
	text, err := Source(name)
	if err != nil {
		return Scenario{}, err
	}
	s, err := Parse(text)
	if err != nil {
		return Scenario{}, fmt.Errorf("%s: %w", name, err)
	}
	if strings.HasSuffix(name, ".toml") {
		resolve(&s, filepath.Dir(name))
	}
	if s.Name == "" {
		s.Name = strings.TrimSuffix(path.Base(name), ".toml")
	}
	return s, nil
}

// Parse reads TOML. A key that means nothing is an error that names it and
// its line.
func Parse(text []byte) (Scenario, error) {
	var s Scenario
	if len(text) > maxSource {
		return s, fmt.Errorf("scenarios: %d bytes; the most is %d", len(text), maxSource)
	}
	if err := nesting.TOML(text); err != nil {
		return s, fmt.Errorf("scenarios: %w", err)
	}
	meta, err := toml.Decode(string(text), &s)
	if err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return s, fmt.Errorf("scenarios: line %d: %s", parse.Position.Line, parse.Message)
		}
		return s, fmt.Errorf("scenarios: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		return s, fmt.Errorf("scenarios: line %d: unknown key %q%s", line(text, key[len(key)-1]), key.String(), nearest.Hint(key.String(), nearest.Keys(s)))
	}
	if err := unsigned.TOML(string(text), &s); err != nil {
		return s, fmt.Errorf("scenarios: %w", err)
	}
	return s, s.Check()
}

// line is where a key is set, or 0.
func line(text []byte, key string) int {
	for i, l := range bytes.Split(text, []byte("\n")) {
		name, _, _ := bytes.Cut(bytes.Trim(bytes.TrimSpace(l), "[]"), []byte("="))
		if string(bytes.TrimSpace(name)) == key || bytes.HasSuffix(bytes.TrimSpace(name), []byte("."+key)) {
			return i + 1
		}
	}
	return 0
}

// Check reports the first thing wrong with s, naming the key.
func (s Scenario) Check() error {
	switch s.Plant {
	case "":
		return errors.New(`scenarios: plant: is missing: give "cartpole", "replay", "synthetic", "testbed" or "live"`)
	case "cartpole":
		return nil
	case "synthetic":
		if s.Model == "" {
			return errors.New("scenarios: model: is missing: a synthetic plant is one of a model")
		}
		return s.Env.Check()
	case "replay":
		if err := s.Replay.Check(); err != nil {
			return err
		}
		if s.Env.PerSwitch {
			return fmt.Errorf("scenarios: env.per_switch: a recording has one limit for all switches")
		}
		return s.Env.Check()
	case "testbed":
		if err := s.Testbed.Check(); err != nil {
			return err
		}
		return s.Env.Check()
	case "live":
		if err := s.Testbed.Check(); err != nil { // observations may be scaled by it
			return err
		}
		if err := s.Env.Check(); err != nil {
			return err
		}
		return s.Live.check(s.Env)
	}
	return fmt.Errorf(`scenarios: plant: %q is not one of "cartpole", "replay", "synthetic", "testbed", "live"`, s.Plant)
}
