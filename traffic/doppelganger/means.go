package doppelganger

import (
	"math"

	"github.com/planegym/planegym/traffic"
)

// A flow record counts packets and bytes. Drawn side by side in classes these
// contradict each other: a ping of 31 packets has 992 bytes, and one of 42 has 1,176
// or 1,344, never a number between. So the models draw how many bytes a packet has in
// the mean in the place of the bytes, and a mean that is common comes back exactly.

// meanFields are the step fields with packets and bytes; -1 where a schema has none
// such.
func meanFields(c *traffic.Schema) (packets, size int) {
	packets, size = c.StepIndex("packets"), c.StepIndex("size")
	if packets < 0 || size < 0 || c.Steps[packets].Kind != traffic.Size || c.Steps[size].Kind != traffic.Size {
		return -1, -1
	}
	return packets, size
}

// hasMeans reports whether all steps of a set have packets and bytes.
func hasMeans(set *traffic.Set) bool {
	packets, size := meanFields(&set.Of)
	if packets < 0 {
		return false
	}
	for i := range set.Sessions {
		s := &set.Sessions[i]
		for t := range set.Of.Len(s) {
			if x := set.Of.Step(s, t); x[packets] < 1 || x[size] < 1 {
				return false
			}
		}
	}
	return true
}

// indexMeans puts the mean into the schema of inner sessions.
func (k *codec) indexMeans() {
	k.packets, k.size = -1, -1
	if !k.Means {
		return
	}
	k.packets, k.size = meanFields(&k.Schema)
	k.in.Steps = append([]traffic.Field(nil), k.Schema.Steps...)
	k.in.Steps[k.size] = traffic.Field{Name: "size_mean", Unit: "B", Kind: traffic.Number}
}

// toMean makes a step of Schema one of in.
func (k *codec) toMean(x []float64) { x[k.size] /= max(x[k.packets], 1) }

// fromMean makes a step of in one of Schema.
func (k *codec) fromMean(x []float64) {
	x[k.size] = min(math.Round(x[k.size]*x[k.packets]), 1<<53)
}

// spreadMean is the logarithm of how many numbers of bytes are in a class of the
// mean, for a number of packets.
func (k *codec) spreadMean(c *classes, class int32, packets float64) float64 {
	i := int(class) - len(c.Exact)
	if i < 0 {
		return 0
	}
	return math.Log(max(packets*(c.Edges[i+1]-c.Edges[i]), 1))
}
