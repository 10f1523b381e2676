package inloop

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/planegym/planegym/traffic/eval"
)

// Evaluation is what traffic eval writes as JSON: likeness' keys, and "in_loop".
// Either may be missing.
type Evaluation struct {
	*eval.Result
	InLoop *Result `json:"in_loop,omitempty"`
}

// Decode reads an Evaluation that holds together.
func Decode(text []byte) (*Evaluation, error) {
	var e Evaluation
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, fmt.Errorf("inloop: not what traffic eval --json writes: %w", err)
	}
	if e.Result != nil && len(e.Result.Rows) == 0 {
		e.Result = nil
	}
	if e.Result == nil && e.InLoop == nil {
		return nil, errors.New("inloop: not what traffic eval --json writes: neither rows nor in_loop")
	}
	if r := e.InLoop; r != nil {
		if r.Standings == nil || len(r.Rows) != len(r.StandIns)+1 || len(r.Policies) == 0 || len(r.Values) != len(r.Policies) {
			return nil, errors.New("inloop: in_loop: loads, policies and values are not of one comparison")
		}
		for i, s := range r.StandIns {
			if len(s.Values) != len(r.Policies) || len(s.Differences) != len(r.Policies) || s.Name != r.Rows[i+1].Name {
				return nil, fmt.Errorf("inloop: in_loop: stand_ins[%d]: %d values of %d policies", i, len(s.Values), len(r.Policies))
			}
		}
	}
	return &e, nil
}
