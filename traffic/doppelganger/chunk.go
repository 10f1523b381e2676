package doppelganger

import (
	"fmt"
	"math"
	"slices"

	"github.com/planegym/planegym/traffic"
)

// A model may be of one chunk of a trace (Config.Chunk): it learns the sessions that
// start in it, whole, so that each session and each record of a trace is in the
// training of one chunk's model. Classes are those of all sessions.

// SetChunk makes it the k-th of n chunks, from 1, that is learnt.
func (c *Config) SetChunk(k, n int) { c.Chunk, c.Chunks = k, n }

// cut is the chunks of sessions and the seconds of each: n equal times until the last
// step, or one of 0 s where all sessions start at once.
func cut(set *traffic.Set, n int) (chunks int, span float64) {
	first, latest, last := math.Inf(1), 0., 0. // of the starts, and of the steps
	for i := range set.Sessions {
		if s := &set.Sessions[i]; len(s.Steps) > 0 {
			first, latest, last = min(first, s.Start), max(latest, s.Start), max(last, lastStep(&set.Of, s))
		}
	}
	if last > first && latest > first {
		return n, last / float64(n) * (1 + 1e-9)
	}
	return 1, 0
}

// lastStep is when the last step of a session is, in seconds.
func lastStep(c *traffic.Schema, s *traffic.Session) float64 {
	at, g := s.Start, c.StepIndex("gap")
	if g < 0 {
		return at + c.Tick*float64(c.Len(s))
	}
	for t := range c.Len(s) {
		at += c.Step(s, t)[g]
	}
	return at
}

// Share is what a chunk has of a trace.
type Share struct {
	Chunk    int     `json:"chunk"` // from 1
	From     float64 `json:"from_s"`
	To       float64 `json:"to_s"`
	Sessions int     `json:"sessions"` // that start in it
	Records  int     `json:"records"`  // of these
	Later    int     `json:"later"`    // sessions of these with records after it
}

// Shares are the chunks that fits with Config.Chunks of n learn, one of them where all
// sessions start at once.
func Shares(src traffic.Source, n int) ([]Share, error) {
	set, err := traffic.Load(src)
	if err != nil {
		return nil, fmt.Errorf("doppelganger: %w", err)
	}
	k := &codec{}
	k.Chunks, k.Span = cut(set, n)
	all := make([]Share, k.Chunks)
	for i := range all {
		all[i].Chunk, all[i].From, all[i].To = i+1, float64(i)*k.Span, float64(i+1)*k.Span
	}
	for _, s := range nonEmpty(set) {
		x := &all[k.chunk(s.Start)]
		x.Sessions++
		x.Records += set.Of.Len(&s)
		if lastStep(&set.Of, &s) >= x.To && k.Chunks > 1 {
			x.Later++
		}
	}
	return all, nil
}

// part is the sessions that start in a chunk, from 1, and k counts them; chunk 0 is
// all of set.
func (k *codec) part(set *traffic.Set, chunk int) (*traffic.Set, error) {
	if chunk == 0 {
		return set, nil
	}
	if k.Chunks == 1 {
		return nil, fmt.Errorf("doppelganger: chunk: all sessions start at the same time: there are no chunks to learn one of")
	}
	part := &traffic.Set{Of: set.Of}
	for _, s := range nonEmpty(set) {
		if k.chunk(s.Start) == chunk-1 {
			part.Sessions = append(part.Sessions, s)
		}
	}
	if part.Len() == 0 {
		return nil, fmt.Errorf("doppelganger: chunk: no session starts in chunk %d of %d, from %.6g to %.6g s",
			chunk, k.Chunks, float64(chunk-1)*k.Span, float64(chunk)*k.Span)
	}
	k.count(part.Sessions)
	k.indexStarts()
	return part, nil
}

// maxStarts is how many times between starts a model holds. Of more sessions it
// holds every second, every third and so on.
const maxStarts = 1 << 20

// count fills Labels and Starts.
func (k *codec) count(sessions []traffic.Session) {
	k.Labels, k.Starts = make([]int32, len(k.Schema.Labels)+1), nil
	var at []float64
	for i := range sessions {
		if s := &sessions[i]; len(s.Steps) > 0 {
			k.Labels[s.Label+1]++
			at = append(at, s.Start)
		}
	}
	slices.Sort(at)
	was, every := 0., (len(at)+maxStarts-1)/maxStarts
	for i := 0; i < len(at); i += every {
		k.Starts = append(k.Starts, at[i]-was)
		was = at[i]
	}
}

// chunkSeed separates the draws of chunks' models: begun with one another, they would make
// like sessions of equal normals.
func chunkSeed(seed uint64, chunk int) uint64 { return seed + uint64(chunk)*0x9e3779b97f4a7c15 }
