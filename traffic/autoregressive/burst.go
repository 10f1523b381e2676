package autoregressive

import (
	"math"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/seq"
	"github.com/planegym/planegym/internal/tokens"
	"github.com/planegym/planegym/traffic"
)

// Bursts is what netSynth's published code reports of a model: a session's last
// burst, the steps of one direction that it ends with, is hidden and guessed
// from the bursts before it.
type Bursts struct {
	Sessions int // with two bursts at least
	Steps    int // of the hidden bursts
	// Perplexity is e to the mean negative log-likelihood of a hidden step, each
	// given all before it.
	Perplexity float64
	Fields     []string
	// Accuracy is the share of hidden steps, by field, whose most probable class
	// is right; guesses are read back as the past of the next guess. Sizes are
	// right if they are exact, gaps if their bin is.
	Accuracy []float64
	// Commonest is the accuracy of a guess that is always the class which the
	// hidden bursts of the same label have most often.
	Commonest []float64
}

// Bursts measures on sessions that the model was not fitted to.
func (m *Model) Bursts(held *traffic.Set) (*Bursts, error) {
	cols := len(m.codec.Steps)
	r := &Bursts{Accuracy: make([]float64, cols), Commonest: make([]float64, cols)}
	for i := range m.codec.Steps {
		r.Fields = append(r.Fields, m.codec.Steps[i].Name)
	}
	direction := m.Schema().StepIndex("direction")
	nats := 0.
	counts := make([]map[int]map[int32]float64, cols) // by column, label, class
	for h := range counts {
		counts[h] = map[int]map[int32]float64{}
	}
	sampler := m.net.NewSampler(compute.NewBackend(compute.Fastest(), 1), 1)
	in, guess := make([]int32, len(m.net.Embeddings)), make([]int32, cols)
	about := make([]int32, 1+len(m.codec.Meta))
	before := m.census.Past(m.codec)
	for i := range held.Sessions {
		s := &held.Sessions[i]
		if err := m.Schema().Valid(s); err != nil {
			return nil, err
		}
		n := m.Schema().Len(s)
		from := n
		for from > 0 && (direction < 0 || m.Schema().Step(s, from-1)[direction] == m.Schema().Step(s, n-1)[direction]) {
			from--
		}
		if from == 0 {
			continue
		}
		r.Sessions++
		classes := m.codec.Classes(s, nil)
		m.codec.MetaTokens(s.Label, s.Meta, about)
		err := m.follow(s, func(t int, sampler *seq.Sampler, classes []int32, before *tokens.Past) {
			if t < from || t == n {
				return
			}
			for h, v := range classes {
				nats -= logProb(m.weights(sampler, 0, h, classes, before), v) + m.codec.Steps[h].LogShare(v, m.Schema().Step(s, t))
			}
		})
		if err != nil {
			return nil, err
		}
		past := append([]int32(nil), classes...)
		sampler.Reset(nil)
		before.Begin(about)
		for t := range n {
			m.inputs(in, past, t, about)
			sampler.Step(nil, in, nil)
			if t < from {
				before.Add(classes[t*cols:][:cols])
				continue
			}
			r.Steps++
			for h := range cols {
				w := m.weights(sampler, 0, h, guess, before)
				if h == 0 {
					w = w[:m.end()]
				}
				guess[h] = best(w)
				v := classes[t*cols+h]
				if guess[h] == v && (m.codec.Steps[h].Vocabulary == nil || int(v) < len(m.codec.Steps[h].Vocabulary.Exact)) {
					r.Accuracy[h]++
				}
				of := counts[h][s.Label]
				if of == nil {
					of = map[int32]float64{}
					counts[h][s.Label] = of
				}
				of[v]++
			}
			copy(past[t*cols:], guess)
			before.Add(guess)
		}
	}
	for h := range cols {
		r.Accuracy[h] /= float64(r.Steps)
		for _, of := range counts[h] {
			most := 0.
			for _, n := range of {
				most = max(most, n)
			}
			r.Commonest[h] += most / float64(r.Steps)
		}
	}
	r.Perplexity = math.Exp(nats / float64(r.Steps))
	return r, nil
}

func best(w []float32) int32 {
	at := 0
	for i, v := range w {
		if v > w[at] {
			at = i
		}
	}
	return int32(at)
}
