package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
)

// Entry is a line of a journal.
type Entry struct {
	Time   time.Time  `json:"time"`
	By     string     `json:"by"`    // "agent" or "guard"
	Event  string     `json:"event"` // "begin", "ask", "set", "decide" (shadow: no limit is set), "step", "switch", "end"
	Why    string     `json:"why,omitempty"`
	Step   int        `json:"step,omitempty"` // of the episode, from 1
	Asked  []p4.Limit `json:"asked,omitempty"`
	Got    []Got      `json:"got,omitempty"`
	Reward *float32   `json:"reward,omitempty"`
	TookMS float64    `json:"took_ms,omitempty"` // from the decision to the last read-back
	Error  string     `json:"error,omitempty"`
}

// Got is what a queue's switch read back.
type Got struct {
	Switch string   `json:"switch"`
	Port   p4.Port  `json:"port"`
	Limit  p4.Limit `json:"limit"` // 0: it did not tell
	Error  string   `json:"error,omitempty"`
}

// Journal is an append-only file of entries, a JSON object a line. Several
// processes may write one: a line is one write, and is on disk before Append
// returns.
type Journal struct {
	by string
	mu sync.Mutex
	f  *os.File
}

// OpenJournal opens a journal for entries of by. The file is made where there
// is none.
func OpenJournal(path, by string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("deploy: journal: %w", err)
	}
	return &Journal{by: by, f: f}, nil
}

// Append writes e, with its time if it has none.
func (j *Journal) Append(e Entry) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.By = j.by
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("deploy: journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("deploy: journal: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("deploy: journal: %w", err)
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.f.Close() }

// Named is what was read back, by the names of the inventory.
func Named(inv inventory.Inventory, got []p4.InForce) []Got {
	named := inv.WithDefaults(0)
	var out []Got
	for _, g := range got {
		o := Got{Switch: named[g.Switch].Name, Port: g.Port, Limit: g.Limit}
		if g.Err != nil {
			o.Error = g.Err.Error()
		}
		out = append(out, o)
	}
	return out
}
