package emulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/scenarios"
)

// LogTo makes every limit that comes into force a line of JSON at the end of a file,
// until done.
func (c *Config) LogTo(file string) (done func() error, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var failed error
	c.Changed = func(sw int, port p4.Port, l p4.Limit) {
		line, err := json.Marshal(map[string]any{"time": time.Now(), "switch": fmt.Sprint("s", sw+1), "port": port, "limit": l})
		if err == nil {
			_, err = f.Write(append(line, '\n'))
		}
		mu.Lock()
		failed = errors.Join(failed, err)
		mu.Unlock()
	}
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		return errors.Join(failed, f.Close())
	}, nil
}

// WriteScenario writes the scenario of the emulated switches, for deploy and collect:
// they emulate s, which observations are scaled by; player is the host:port that the
// player's samples are posted to. The first of the depths is the safe limit.
func (e *Emulation) WriteScenario(file string, s scenarios.Scenario, player string) error {
	var b bytes.Buffer
	depths, thrift := e.cfg.Depths, e.Thrift()
	fmt.Fprintf(&b, "description = \"Emulated switches of scenario %s, %g times real time\"\nplant = \"live\"\n\n[live]\nsafe = %d\ntime_scale = %g\n", s.Name, e.cfg.Scale, depths[0], e.cfg.Scale)
	fmt.Fprintf(&b, "probes.udp = %q\nplayer.http = %q\n", e.cfg.UDP, player)
	role := ""
	if e.cfg.Personality == sim.PINS {
		role = fmt.Sprintf("role = %q\npush = [\"reconcile-and-commit\"]\n", sim.PINSRole)
	}
	var queues []string
	for _, d := range depths {
		queues = append(queues, fmt.Sprint(d))
	}
	for i, sw := range e.Servers() {
		fmt.Fprintf(&b, "\n[[live.switch]]\nname = \"s%d\"\ntarget = %q\ndevice_id = %d\nports = [%d]\nqueues = [%s]\n%s", i+1, sw.Addr(), i+1, Port, strings.Join(queues, ", "), role)
		if thrift != nil {
			fmt.Fprintf(&b, "thrift = %q\n", thrift[i])
		}
	}
	b.WriteString("\n# As in the scenario: what observations are scaled by.\n")
	if err := toml.NewEncoder(&b).Encode(map[string]any{"env": s.Env, "testbed": s.Testbed}); err != nil {
		return err
	}
	if _, err := scenarios.Parse(b.Bytes()); err != nil {
		return err
	}
	return atomicfile.Write(file, func(w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	})
}
