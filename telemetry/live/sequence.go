package live

import (
	"cmp"
	"slices"
	"time"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
)

// nodeID is who counts its reports.
type nodeID struct {
	node     uint32
	hardware uint8
	bits     uint8
}

// Sequence is what the sequence numbers of one node's reports tell.
type Sequence struct {
	Node       uint32 `json:"node"`
	Hardware   uint8  `json:"hardware"`
	Received   uint64 `json:"received"`
	Lost       uint64 `json:"lost"` // less those that came out of order after all
	Reordered  uint64 `json:"reordered"`
	Duplicates uint64 `json:"duplicates"`
	Restarts   uint64 `json:"restarts"` // the node began to count anew
}

// sequence follows the numbers of a node, modulo 2^bits.
type sequence struct {
	Sequence
	last   uint32 // highest so far
	seen   uint64 // bit i: last-i came
	strays uint32 // the number that would follow one out of all order
	stray  bool
}

// follow counts a report, and says whether its number is new: one that came
// before, or out of all order, says nothing of the switch as it is now.
func (c *Collector) follow(r *intreport.Report) (fresh bool) {
	id := nodeID{r.Node, r.Hardware, r.SeqBits}
	s := c.nodes[id]
	if s == nil {
		if len(c.nodes) == maxNodes {
			c.stats.Unfollowed++
			return true
		}
		s = &sequence{Sequence: Sequence{Node: r.Node, Hardware: r.Hardware, Received: 1}, last: r.Seq, seen: 1}
		c.nodes[id] = s
		return true
	}
	return s.count(r.Seq, r.SeqBits)
}

// count counts a number. One ahead of the last by less than a quarter of all
// is next, those in between are lost; one at most 63 behind is late. Anything
// else is a node that began anew, if the next number follows it.
func (s *sequence) count(seq uint32, bits uint8) (fresh bool) {
	s.Received++
	mask := uint32(1)<<bits - 1 // bits = 32: all
	ahead, behind := (seq-s.last)&mask, (s.last-seq)&mask
	switch {
	case ahead == 0 || behind < 64 && s.seen>>behind&1 != 0:
		s.Duplicates++
		return false
	case ahead <= mask/4:
		s.Lost += uint64(ahead - 1)
		s.seen = s.seen<<ahead | 1
		s.last, s.stray = seq, false
	case behind < 64:
		s.seen |= 1 << behind
		s.Lost -= min(s.Lost, 1)
		s.Reordered++
	case s.stray && seq == s.strays:
		s.Restarts++
		s.last, s.seen, s.stray = seq, 3, false
	default:
		s.strays, s.stray = (seq+1)&mask, true
		return false
	}
	return true
}

// Stats count what came since the beginning.
type Stats struct {
	Packets    uint64 `json:"packets"`     // taken from all sources
	Foreign    uint64 `json:"foreign"`     // that were neither probe nor report
	Malformed  uint64 `json:"malformed"`   // that could not be decoded
	Replayed   uint64 `json:"replayed"`    // packets and samples that had come before
	TurnedAway uint64 `json:"turned_away"` // of addresses that may not send, or without the token
	LastError  string `json:"last_error"`  // of the last malformed packet or sample

	Reports   uint64 `json:"reports"`
	Unknown   uint64 `json:"unknown"`   // hops of switches that are not configured
	Elsewhere uint64 `json:"elsewhere"` // hops by ports that are not meant

	Samples    uint64 `json:"samples"`     // of the player
	BadSamples uint64 `json:"bad_samples"` // that could not be read

	// Refused are the values, by column, that cannot be measurements. They
	// count as not measured.
	Refused []telemetry.Refused `json:"refused,omitempty"`

	Late    uint64 `json:"late"`    // reports and samples of windows that had been read
	Dropped uint64 `json:"dropped"` // reports and samples that newer ones replaced unread
	Overrun uint64 `json:"overrun"` // datagrams that newer ones replaced undecoded

	Sequences  []Sequence `json:"sequences"`  // by node
	Unfollowed uint64     `json:"unfollowed"` // reports of more nodes than are followed

	Clocks      []time.Duration `json:"clocks"`       // our time since 1970 less each switch's
	Paces       []Pace          `json:"paces"`        // of each switch's clock, beside ours
	PlayerClock time.Duration   `json:"player_clock"` // our time less the player's
	ClockResets uint64          `json:"clock_resets"` // jumps of a clock
}

// Stats is a copy of the counts.
func (c *Collector) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	for _, n := range c.nodes {
		s.Sequences = append(s.Sequences, n.Sequence)
	}
	slices.SortFunc(s.Sequences, func(a, b Sequence) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Hardware, b.Hardware))
	})
	for i := range c.clocks {
		s.ClockResets += c.clocks[i].resets
		s.Clocks = append(s.Clocks, c.clocks[i].measured(c.base))
		s.Paces = append(s.Paces, c.paces[i].Pace())
	}
	s.Refused = append(append(c.reportTally.Refused(), c.sampleTally.Refused()...), c.riseTally.Refused()...)
	s.ClockResets += c.playerClock.resets
	s.PlayerClock = c.playerClock.measured(c.base)
	return s
}
