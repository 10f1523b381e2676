// Package standings plays policies in the same episodes, and says who earned how much
// and what a viewer saw.
package standings

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/baseline"
	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/episodes"
	"github.com/planegym/planegym/eval"
)

// Entry is a policy to play.
type Entry struct {
	Name   string
	Policy agent.Policy
	Hash   string // of an agent's weights; ""
	Record bool   // its episodes are recorded, where there is a recorder
}

// WithBaselines adds the usual baselines that work in spec and are not there yet: every
// limit, the limits in turn, random ones, and two rules that watch the queues.
func WithBaselines(entries []Entry, spec env.Spec) []Entry {
	names := []string{}
	for i := range slices.Min(spec.Action) {
		if spec.Limits != nil {
			i = int(spec.Limits[i])
		}
		names = append(names, fmt.Sprint("fixed:", i))
	}
	for _, name := range append(names, "alternate", "random", "threshold", "codel") {
		if slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == name }) {
			continue
		}
		if b, err := baseline.New(name, spec); err == nil {
			entries = append(entries, Entry{Name: name, Policy: b})
		}
	}
	return entries
}

// Play plays every policy in the episodes of seeds. What entries ask for is recorded
// to to, which may be nil; done, which may be nil, is called after each policy. With
// an error come the rows of those that were played.
func Play(ctx context.Context, v env.Vector, entries []Entry, seeds []uint64, to *episodes.Writer, done func() error) ([]Row, error) {
	var rows []Row
	var first *eval.Evaluation
	for _, e := range entries {
		record := to
		if !e.Record {
			record = nil
		}
		got, err := eval.Evaluate(ctx, v, e.Policy, seeds, record)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", e.Name, err)
		}
		r := Row{Policy: e.Name, Agent: e.Hash, Return: estimateOf(got.Return), Length: estimateOf(got.Length), Shares: got.Shares, Returns: got.Returns}
		if first == nil {
			first = got
		} else {
			over := estimateOf(got.Over(first))
			r.Over = &over
		}
		if q := got.QoE; q != nil {
			r.QoE = &QoE{estimateOf(q.LBO), estimateOf(q.Level), estimateOf(q.Stalls)}
		}
		rows = append(rows, r)
		if done != nil {
			if err := done(); err != nil {
				return rows, err
			}
		}
	}
	return rows, nil
}

// Row is how a policy did.
type Row struct {
	Policy  string      `json:"policy"`
	Agent   string      `json:"agent,omitempty"` // digest of its weights
	Return  Estimate    `json:"return"`
	Over    *Estimate   `json:"over_first,omitempty"` // this return less the first policy's, paired by episode
	Length  Estimate    `json:"length"`               // steps
	QoE     *QoE        `json:"qoe,omitempty"`
	Shares  [][]float64 `json:"action_shares"` // [switch][action]
	Returns []float64   `json:"returns"`
}

// QoE is what a viewer saw in an episode.
type QoE struct {
	LBO    Estimate `json:"lbo_s"`
	Level  Estimate `json:"level"`
	Stalls Estimate `json:"stall_s"`
}

// Estimate is eval.Estimate as JSON, which has no NaN.
type Estimate struct {
	Mean float64  `json:"mean"`
	CI   *float64 `json:"ci95"` // null for a single episode
}

func estimateOf(e eval.Estimate) Estimate {
	if math.IsNaN(e.CI) {
		return Estimate{Mean: e.Mean}
	}
	return Estimate{e.Mean, &e.CI}
}

func (e Estimate) String() string {
	if e.CI == nil {
		return fmt.Sprintf("%.2f", e.Mean)
	}
	return fmt.Sprintf("%.2f ± %.2f", e.Mean, *e.CI)
}
