// Package eval measures how far generated sessions are from real ones, beside the
// noise floor and models that only count.
//
// Every candidate is compared with held-out real sessions that nothing was
// fitted to. The row "real" is the training sessions in a generator's place:
// below it, a better generator cannot be distinguished from a worse one. The
// floors bootstrap, markov and witten-bell-3 are fitted to the same training
// sessions.
package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/legal"
	"github.com/planegym/planegym/traffic/netflow"
	"github.com/planegym/planegym/traffic/ngram"
	"github.com/planegym/planegym/traffic/store"
)

// Options say how to compare. Zero values are the defaults in the comments.
type Options struct {
	Steps int    // steps of a session that forests see; 10
	Trees int    // 200
	Seeds int    // samples of each model, forests of each set; 3
	Seed  uint64 // the first
	N     int    // sessions sampled of each model; as many as are in training
	// MaxSteps of sampled sessions; 0: as the model was fitted.
	MaxSteps int
	// Tick above 0 (s) also measures packets as series of rates, of Ticks ticks
	// each. With 0 that is done where a candidate is a series, with its tick.
	Tick     float64
	Ticks    int  // 128
	NoFloors bool // leave bootstrap, markov and witten-bell-3 out
	NoForest bool // leave TSTR, TRTS, mixing and C2ST out
	Audit    bool // also say what likelihoods tell of who was in training
	// Shadow above 0 also attacks by so many shadow models of each model (shadow.go),
	// an even number from 4 on.
	Shadow   int
	Mixing   bool   // also train on mixtures of real and generated sessions
	Progress func() // called after each of Work() parts
}

func (o *Options) complete() error {
	set := func(x *int, d int) {
		if *x == 0 {
			*x = d
		}
	}
	set(&o.Steps, 10)
	set(&o.Trees, 200)
	set(&o.Seeds, 3)
	o.Audit = o.Audit || o.Shadow > 0
	for name, x := range map[string]int{"steps": o.Steps, "trees": o.Trees, "seeds": o.Seeds, "n": o.N, "max_steps": o.MaxSteps, "ticks": o.Ticks} {
		if x < 0 {
			return fmt.Errorf("eval: %s: %d is negative", name, x)
		}
	}
	if o.Shadow != 0 && (o.Shadow < 4 || o.Shadow%2 != 0) {
		return fmt.Errorf("eval: shadow: %d models; expected an even number from 4 on: a session is in half of them", o.Shadow)
	}
	if !(o.Tick >= 0) || math.IsInf(o.Tick, 0) {
		return fmt.Errorf("eval: tick: %v s", o.Tick)
	}
	return nil
}

// Candidate is what is evaluated: a model, which is sampled, or a set that one
// wrote.
type Candidate struct {
	Name  string
	Model traffic.Model
	Set   *traffic.Set
	// Packets are what was found of the capture that Set was read from; nil: Set
	// is no capture, and what compile makes of it is checked.
	Packets *legal.Counts
	// Refit fits a model as Model was fitted, to other sessions: with Options.Shadow.
	// nil: the model is not attacked by shadow models.
	Refit func(ctx context.Context, src traffic.Source, seed uint64) (traffic.Model, error)
}

// Scorer is a model that knows how likely a session is. LogProb adds to into
// ln P of each of Parts, the first of which is what P1 calls tokens.
type Scorer interface {
	Parts() []string
	LogProb(s *traffic.Session, into []float64) (steps int, err error)
}

// Row is a candidate's figures.
type Row struct {
	Name     string              `json:"name"`
	Kind     string              `json:"kind"` // "real", "floor", "candidate"
	Sessions int                 `json:"sessions"`
	Figures  map[string]Estimate `json:"figures"`
	Mixing   []MixingPoint       `json:"mixing,omitempty"`
}

// Cell is a figure as text, "–" where the row has none.
func (r *Row) Cell(figure string) string {
	e, ok := r.Figures[figure]
	if !ok {
		return "–"
	}
	return e.String()
}

// MixingPoint is a forest trained on a mixture, tested on held-out sessions.
type MixingPoint struct {
	Generated float64 `json:"generated"` // share of the training set
	F1        Number  `json:"f1"`
}

// Result is a comparison.
type Result struct {
	Train   int      `json:"train_sessions"`
	Held    int      `json:"held_sessions"`
	Steps   int      `json:"steps"`
	Trees   int      `json:"trees"`
	Seeds   int      `json:"seeds"`
	Labels  []string `json:"labels"`
	Figures []Figure `json:"figures"`
	Rows    []Row    `json:"rows"`
}

// Figure is what one column of a Result says.
type Figure struct {
	Name    string  `json:"name"`
	About   string  `json:"about"`
	Best    float64 `json:"best"`
	Bounded bool    `json:"-"`
}

// figures in the order they are shown.
var figures = []Figure{
	{Name: "nll", About: "nats a step to say the steps of held-out sessions and their ends, gaps apart", Best: 0},
	{Name: "nll_gap", About: "nats a step for the bins of gaps; bins are the model's own", Best: 0},
	{Name: "member_auc", About: "chance that a training session is likelier a step than a held-out one: what membership can be told by", Best: .5},
	{Name: "member_tpr", About: "share of training sessions that a threshold on likelihood finds where it takes 1 % of held-out ones for such", Best: .01},
	{Name: "member_tpr_01", About: "the same at .1 %; of fewer than 1,000 held-out ones at none", Best: .001},
	{Name: "shadow_auc", About: "the same chance by the ratio of likelihoods of shadow models (LiRA), of as many training as held-out sessions", Best: .5},
	{Name: "shadow_tpr", About: "share of training sessions that it finds where it takes 1 % of held-out ones for such", Best: .01},
	{Name: "shadow_tpr_01", About: "the same at .1 %; of fewer than 1,000 held-out ones at none", Best: .001},
	{Name: "tstr_f1", About: "macro F1 of a forest trained on these sessions, tested on held-out real ones", Best: 1},
	{Name: "tstr_acc", About: "its accuracy", Best: 1},
	{Name: "trts_f1", About: "macro F1 of a forest trained on real sessions, tested on these", Best: 1},
	{Name: "c2st", About: "accuracy of a forest that tells these from held-out real ones, label known", Best: .5},
	{Name: "copy", About: "share of these whose label and steps, gaps apart, are in training; of real: of held-out ones", Best: 0},
	{Name: "size", About: "JSD of direction and size of a step, exact", Best: 0},
	{Name: "bigram", About: "JSD of two steps in a row, sizes by powers of two", Best: 0},
	{Name: "pattern", About: "JSD of the directions of the first steps", Best: 0},
	{Name: "gap", About: "JSD of gaps, 48 bins cut at the held-out quantiles", Best: 0},
	{Name: "length", About: "JSD of the number of steps", Best: 0},
	{Name: "gap_emd_s", About: "Wasserstein-1 distance of gaps, s", Best: 0},
	{Name: "size_emd_b", About: "Wasserstein-1 distance of sizes, bytes", Best: 0},
	{Name: "length_emd", About: "Wasserstein-1 distance of the number of steps", Best: 0},
	{Name: "duration_emd_s", About: "Wasserstein-1 distance of sessions' durations, s", Best: 0},
	{Name: "gap_acf1", About: "mean autocorrelation of a session's log gaps at lag 1, less the held-out sessions'", Best: 0},
	{Name: "size_acf1", About: "the same of signed sizes", Best: 0},
	{Name: "dispersion_1s", About: "ln of the index of dispersion of steps a second over all sessions, less the held-out sessions'", Best: 0},
	{Name: "legal", About: "share of sessions whose every action can be a legal packet as it is", Best: 1},
	{Name: "repair", About: "share of actions that compile has to change", Best: 0},
	{Name: "legal_packets", About: "share of packets without a wrong checksum or a broken rule of TCP: of a capture its own, else those that compile makes", Best: 1},
	{Name: "labels", About: "JSD of labels", Best: 0},
	{Name: "series_bytes", About: "JSD of a session's bytes up and down in its first ticks, by powers of two; of sessions as series of rates", Best: 0},
	{Name: "series_active", About: "JSD of the number of ticks with a byte", Best: 0},
	{Name: "series_acf1", About: "mean autocorrelation of a series' log bytes at lag 1, less the held-out sessions'", Best: 0},
	{Name: "series_tstr_f1", About: "macro F1 of a forest trained on these sessions as series, tested on held-out real ones", Best: 1},
	{Name: "series_c2st", About: "accuracy of a forest that tells these series from held-out real ones, label known", Best: .5},
	{Name: "sa", About: "NetShare's JSD of source addresses' counts by rank; flow records", Best: 0},
	{Name: "da", About: "the same of destination addresses", Best: 0},
	{Name: "sp", About: "NetShare's JSD of source ports", Best: 0},
	{Name: "dp", About: "the same of destination ports", Best: 0},
	{Name: "pr", About: "the same of protocols", Best: 0},
	{Name: "v3_ts_us", About: "NetShare's Wasserstein-1 distance of start times, µs since the first", Best: 0},
	{Name: "v3_td_s", About: "the same of durations, s", Best: 0},
	{Name: "v3_pkt", About: "the same of packets", Best: 0},
	{Name: "v3_byt", About: "the same of bytes", Best: 0},
	{Name: "rel_ts_us", About: "that of start times over the real values' from their median: 1 is as far as a constant", Best: 0},
	{Name: "rel_td_s", About: "the same of durations", Best: 0},
	{Name: "rel_pkt", About: "the same of packets", Best: 0},
	{Name: "rel_byt", About: "the same of bytes", Best: 0},
	{Name: "binned_td_s", About: "NetShare's JSD of binned durations, which leaves out what lies beyond the real range", Best: 0},
	{Name: "binned_td_s_all", About: "the same with a bin for what lies beyond", Best: 0},
	{Name: "binned_pkt", About: "NetShare's JSD of binned packets", Best: 0},
	{Name: "binned_pkt_all", About: "the same with a bin for what lies beyond", Best: 0},
	{Name: "binned_byt", About: "NetShare's JSD of binned bytes", Best: 0},
	{Name: "binned_byt_all", About: "the same with a bin for what lies beyond", Best: 0},
}

// Compare judges candidates. Without held, every second session of train is
// held out. It is deterministic.
func Compare(ctx context.Context, train, held *traffic.Set, candidates []Candidate, o Options) (*Result, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if held == nil {
		train, held = train.Halves()
	}
	if train.Len() < 2 || held.Len() < 2 {
		return nil, errors.New("eval: there are fewer than 2 sessions to fit to, or to compare with")
	}
	if err := sameFields(&train.Of, &held.Of); err != nil {
		return nil, fmt.Errorf("eval: training and held-out sessions: %w", err)
	}
	if err := errors.Join(train.Valid(), held.Valid()); err != nil {
		return nil, err
	}
	j := &judge{Options: o, train: train, f: newFeatures(&train.Of, o.Steps)}
	var err error
	if j.held, err = relabel(held, &train.Of); err != nil {
		return nil, fmt.Errorf("eval: held-out sessions: %w", err)
	}
	if j.N == 0 {
		j.N = train.Len()
	}
	j.prepare()
	if j.series, err = j.newSeries(candidates); err != nil {
		return nil, err
	}
	r := &Result{Train: train.Len(), Held: held.Len(), Steps: j.Steps, Trees: j.Trees, Seeds: j.Seeds, Labels: train.Of.Labels}
	real, err := j.row(ctx, "real", Candidate{Name: "real", Set: train})
	if err != nil {
		return nil, err
	}
	r.Rows = append(r.Rows, *real)
	if !o.NoFloors {
		floors, err := Floors(ctx, train)
		if err != nil {
			return nil, err
		}
		for _, f := range floors {
			row, err := j.row(ctx, "floor", f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			r.Rows = append(r.Rows, *row)
		}
	}
	for _, c := range candidates {
		row, err := j.row(ctx, "candidate", c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		r.Rows = append(r.Rows, *row)
	}
	for _, f := range figures {
		if slices.ContainsFunc(r.Rows, func(row Row) bool { _, ok := row.Figures[f.Name]; return ok }) {
			r.Figures = append(r.Figures, f)
		}
	}
	return r, nil
}

// Floors are the models that only count, fitted to sessions.
func Floors(ctx context.Context, train traffic.Source) (all []Candidate, err error) {
	for _, mode := range ngram.Modes {
		fit := func(ctx context.Context, src traffic.Source, _ uint64) (traffic.Model, error) {
			return ngram.Fit(ctx, src, ngram.Config{Mode: mode})
		}
		m, err := fit(ctx, train, 0)
		if err != nil {
			return nil, err
		}
		name := mode
		if mode == ngram.WittenBell {
			name += "-3"
		}
		all = append(all, Candidate{Name: name, Model: m, Refit: fit})
	}
	return all, nil
}

// Work counts the calls of Options.Progress in a comparison of candidates, at most.
func (o Options) Work(candidates []Candidate) int {
	if o.Seeds == 0 {
		o.Seeds = 3
	}
	n, models := 1+len(candidates), 0
	for _, c := range candidates {
		if c.Refit != nil {
			models++
		}
	}
	if !o.NoFloors {
		n, models = n+len(ngram.Modes), models+len(ngram.Modes)
	}
	return n*o.Seeds + models*o.Shadow
}

func names(f []traffic.Field) string {
	var n []string
	for _, f := range f {
		n = append(n, f.Name)
	}
	return strings.Join(n, ", ")
}

func sameFields(a, b *traffic.Schema) error {
	x, y := *a, *b
	x.Labels, y.Labels = nil, nil
	if !x.Equal(&y) {
		return fmt.Errorf("the fields differ: %s | %s, and %s | %s", names(a.Meta), names(a.Steps), names(b.Meta), names(b.Steps))
	}
	return nil
}

// relabel gives s the labels of a schema, by name.
func relabel(s *traffic.Set, of *traffic.Schema) (*traffic.Set, error) {
	if err := sameFields(of, &s.Of); err != nil {
		return nil, err
	}
	if slices.Equal(of.Labels, s.Of.Labels) {
		return s, nil
	}
	to := make([]int, len(s.Of.Labels))
	for i, name := range s.Of.Labels {
		if to[i] = slices.Index(of.Labels, name); to[i] < 0 {
			return nil, fmt.Errorf("label %q is not one of training's: %q", name, of.Labels)
		}
	}
	out := &traffic.Set{Of: *of, Sessions: slices.Clone(s.Sessions)}
	for i := range out.Sessions {
		if l := out.Sessions[i].Label; l >= 0 {
			out.Sessions[i].Label = to[l]
		}
	}
	return out, nil
}

// judge is what all rows share.
type judge struct {
	Options
	f           *features
	train, held *traffic.Set

	heldStats   stats
	heldRecords []netflow.Record // where sessions are of flow records
	gapCuts     []float64
	known       map[string]bool // contents of training
	trainX      [][]float32
	trainY      []int
	heldX       [][]float32
	heldY       []int
	forests     map[uint64]*Forest // of training, by seed
	labelled    bool
	series      *series // nil: no row is one
}

func (j *judge) prepare() {
	var gaps []float64
	for _, s := range j.held.Sessions {
		for t := range j.held.Of.Len(&s) {
			for _, g := range j.f.gaps {
				gaps = append(gaps, j.held.Of.Step(&s, t)[g])
			}
		}
	}
	if len(gaps) > 0 {
		j.gapCuts = quantileCuts(gaps, 48)
	}
	j.heldStats, j.heldRecords = j.measure(j.held), records(j.held)
	j.known = map[string]bool{}
	for i := range j.train.Sessions {
		j.known[j.f.content(&j.train.Sessions[i])] = true
	}
	j.trainX, j.trainY = examples(j.train, j.f.of)
	j.heldX, j.heldY = examples(j.held, j.f.of)
	j.forests = map[uint64]*Forest{}
	kinds := map[int]bool{}
	for _, y := range j.trainY {
		kinds[y] = true
	}
	j.labelled = len(kinds) > 1
}

// examples are what see gives of the labelled sessions of a set.
func examples(s *traffic.Set, see func(*traffic.Session) []float32) (x [][]float32, y []int) {
	for i := range s.Sessions {
		if l := s.Sessions[i].Label; l >= 0 {
			x, y = append(x, see(&s.Sessions[i])), append(y, l)
		}
	}
	return x, y
}

func (j *judge) classes() int { return max(len(j.train.Of.Labels), 1) }

func (j *judge) onReal(seed uint64) *Forest {
	f := j.forests[seed]
	if f == nil {
		f = Grow(j.trainX, j.trainY, j.classes(), j.Trees, seed)
		j.forests[seed] = f
	}
	return f
}

// row samples and judges one candidate.
func (j *judge) row(ctx context.Context, kind string, c Candidate) (*Row, error) {
	r := &Row{Name: c.Name, Kind: kind, Figures: map[string]Estimate{}}
	values := map[string][]float64{}
	for k := range j.Seeds {
		seed := j.Seed + uint64(k)
		set := c.Set
		if c.Model != nil {
			sampled, err := traffic.Collect(c.Model.Schema(), c.Model.Sample(ctx, traffic.Request{N: j.N, Seed: seed, MaxSteps: j.MaxSteps}))
			if err != nil {
				return nil, err
			}
			set = sampled
		}
		if err := set.Valid(); err != nil {
			return nil, err
		}
		// A series is no packets: it has the figures that both have.
		packets, of := true, &j.train.Of
		if j.series != nil && isSeries(&set.Of) && !isSeries(of) {
			packets, of = false, &j.series.schema
		}
		set, err := relabel(set, of)
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.Sessions = set.Len()
		if k == 0 || c.Model != nil {
			if packets {
				for name, x := range j.distances(set, kind == "real") {
					values[name] = append(values[name], x)
				}
			}
			if err := j.legality(ctx, set, c.Packets, values); err != nil {
				return nil, err
			}
		}
		if j.series != nil {
			if err := j.series.judge(j, set, k == 0 || c.Model != nil, seed, values); err != nil {
				return nil, err
			}
		}
		if !j.NoForest && packets {
			j.forest(set, kind == "real", seed, values)
			if k == 0 && j.Mixing && j.labelled && kind != "real" {
				r.Mixing = j.mixing(set, seed)
			}
		}
		if j.Progress != nil {
			j.Progress()
		}
	}
	for name, v := range values {
		r.Figures[name] = EstimateOf(v)
	}
	if c.Model == nil || j.series != nil && isSeries(c.Model.Schema()) != isSeries(&j.train.Of) {
		return r, nil
	}
	if m, ok := c.Model.(Scorer); ok {
		if err := j.likelihood(m, r); err != nil && !errors.Is(err, errors.ErrUnsupported) { // a model of several modes, not all with a probability
			return nil, err
		}
	}
	if j.Shadow > 0 && c.Refit != nil {
		return r, j.shadow(ctx, c, r)
	}
	return r, nil
}

// legality adds what becomes of a set as packets: of series and of flow records
// by the rule of compile.Actions.
func (j *judge) legality(ctx context.Context, set *traffic.Set, own *legal.Counts, into map[string][]float64) error {
	if _, _, err := compile.Actions(&set.Of); err != nil {
		return nil
	}
	add := func(name string, x float64) { into[name] = append(into[name], x) }
	var check legal.Checker
	r, err := compile.Packets(ctx, &set.Of, store.All(set), compile.Options{Raw: true}, func(_ time.Time, ip []byte) error {
		check.Add(uint16(pcap.Raw), ip)
		return nil
	})
	if err != nil {
		return err
	}
	add("legal", float64(r.Whole)/float64(max(r.Sessions, 1)))
	add("repair", r.RepairRate())
	if own == nil {
		own = &check.Counts
	}
	add("legal_packets", own.Share())
	return nil
}

// forest adds what forests say of a set.
func (j *judge) forest(set *traffic.Set, real bool, seed uint64, into map[string][]float64) {
	add := func(name string, x float64) { into[name] = append(into[name], x) }
	if j.labelled {
		x, y := examples(set, j.f.of)
		f := j.onReal(seed)
		if real {
			f1, acc := f.Score(j.heldX, j.heldY)
			add("tstr_f1", f1)
			add("tstr_acc", acc)
			add("trts_f1", f1)
		} else if len(x) > 0 {
			f1, acc := Grow(x, y, j.classes(), j.Trees, seed).Score(j.heldX, j.heldY)
			add("tstr_f1", f1)
			add("tstr_acc", acc)
			f1, _ = f.Score(x, y)
			add("trts_f1", f1)
		}
	}
	add("c2st", j.c2st(j.held, set, j.f.of, seed, 2))
}

// c2st is the classifier two-sample test (Lopez-Paz and Oquab 2017): a forest
// learns on halves of both which is which, its accuracy on the other halves. see
// gives what the forest sees of a session beside the label, stream separates the
// draws of tests.
func (j *judge) c2st(held, set *traffic.Set, see func(*traffic.Session) []float32, seed uint64, stream uint32) float64 {
	n := min(set.Len(), held.Len())
	var trainX, testX [][]float32
	var trainY, testY []int
	for side, s := range []*traffic.Set{held, set} {
		for k, i := range (rng.Key{Seed: seed, A: stream, B: uint32(side), Purpose: rng.Judging}).Choose(s.Len(), n) {
			v := append(see(&s.Sessions[i]), float32(s.Sessions[i].Label))
			if k < n/2 {
				trainX, trainY = append(trainX, v), append(trainY, side)
			} else {
				testX, testY = append(testX, v), append(testY, side)
			}
		}
	}
	_, acc := Grow(trainX, trainY, 2, j.Trees, seed+1<<32).Score(testX, testY)
	return acc
}

// mixing is the curve of a forest's F1 over the share of generated sessions in
// a training set of constant size.
func (j *judge) mixing(set *traffic.Set, seed uint64) []MixingPoint {
	x, y := examples(set, j.f.of)
	n := min(len(x), len(j.trainX))
	real := rng.Key{Seed: seed, A: 3, Purpose: rng.Judging}.Choose(len(j.trainX), n)
	fake := rng.Key{Seed: seed, A: 3, B: 1, Purpose: rng.Judging}.Choose(len(x), n)
	var points []MixingPoint
	for _, share := range []float64{0, .25, .5, .75, .9, 1} {
		k := int(share * float64(n))
		var mx [][]float32
		var my []int
		for i := range n {
			if i < k {
				mx, my = append(mx, x[fake[i]]), append(my, y[fake[i]])
			} else {
				mx, my = append(mx, j.trainX[real[i]]), append(my, j.trainY[real[i]])
			}
		}
		f1, _ := Grow(mx, my, j.classes(), j.Trees, seed).Score(j.heldX, j.heldY)
		points = append(points, MixingPoint{share, Number(f1)})
	}
	return points
}

// likelihood adds nll and nll_gap, intervals over sessions, and with Audit what
// likelihoods tell of who was in training.
func (j *judge) likelihood(m Scorer, r *Row) error {
	held, err := score(m, j.held)
	if err != nil {
		return fmt.Errorf("held-out %w", err)
	}
	parts := m.Parts()
	steps := 0.
	for _, k := range held.steps {
		steps += k
	}
	for p, name := range map[int]string{0: "nll", 1: "nll_gap"} {
		if p >= len(parts) || p == 1 && !slices.Contains(parts, "gap") {
			continue
		}
		per := make([]float64, len(held.sums))
		for i, sum := range held.sums {
			per[i] = -sum[p]
		}
		r.Figures[name] = ratio(per, held.steps, steps)
	}
	if !j.Audit {
		return nil
	}
	train, err := score(m, j.train)
	if err != nil {
		return fmt.Errorf("training %w", err)
	}
	membership(train.perStep(), held.perStep(), "member", r)
	return nil
}

// scored is what a model says of sessions.
type scored struct {
	sums  [][]float64 // by session and part: log-likelihood, nats
	steps []float64   // by session
}

func score(m Scorer, s *traffic.Set) (*scored, error) {
	out := &scored{}
	parts := len(m.Parts())
	for i := range s.Sessions {
		sum := make([]float64, parts)
		n, err := m.LogProb(&s.Sessions[i], sum)
		if err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
		out.sums, out.steps = append(out.sums, sum), append(out.steps, float64(n))
	}
	return out, nil
}

// perStep is the log-likelihood of each session over its steps.
func (s *scored) perStep() []float64 {
	out := make([]float64, len(s.sums))
	for i, sum := range s.sums {
		total := 0.
		for _, x := range sum {
			total += x
		}
		out[i] = total / max(s.steps[i], 1)
	}
	return out
}

// ratio is Σv/Σc with the interval of a ratio of means.
func ratio(v, c []float64, total float64) Estimate {
	sum := 0.
	for _, x := range v {
		sum += x
	}
	q := sum / total
	variance := 0.
	for i := range v {
		d := v[i] - q*c[i]
		variance += d * d
	}
	half := 1.96 * math.Sqrt(variance) / total
	return Estimate{Number(q), Number(q - half), Number(q + half)}
}
