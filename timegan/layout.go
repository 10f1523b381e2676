package timegan

import "github.com/planegym/planegym/compute"

// Layout is what an engine with a memory of its own has to know of a model.
type Layout struct {
	Config     Config // with its defaults
	Channels   int    // F
	Bits       int    // V
	Conditions int    // C
	// Networks are embedder, recovery, generator, supervisor and
	// discriminator: Params holds their tensors in this order, each network's
	// in the order of PyTorch's nn.GRU, then the head.
	Networks [networkCount]compute.GRUConfig
}

// NewLayout is the layout of a model of so many channels and validity bits.
func NewLayout(c Config, channels, bits int) Layout {
	c = c.WithDefaults()
	return Layout{c, channels, bits, c.conditions(), c.sizes(channels, bits)}
}

// Empty are tensors of the model's names and shapes, all 0. State begins with
// the updates that Adam made of each network; then each network has its first
// and second moments and hidden states [layers,B,H]; the clock [B] ends it.
func (l Layout) Empty() (Params, OptimiserState) {
	return emptyParams(l.Config, l.Channels, l.Bits), emptyState(l.Config, l.Channels, l.Bits)
}

// Check reports tensors of other names or shapes; s may be nil.
func (l Layout) Check(p Params, s OptimiserState) error {
	wantP, wantS := l.Empty()
	if err := sameTensors("weights", p, wantP); err != nil || s == nil {
		return err
	}
	return sameTensors("state", s, wantS)
}
