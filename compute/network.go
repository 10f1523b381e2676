package compute

import "fmt"

// Activation is an elementwise function after an affine map.
type Activation uint8

// The activations; σ(x) = 1/(1+e⁻ˣ).
const (
	Linear Activation = iota
	ReLU
	Sigmoid
	Tanh
)

func (a Activation) String() string {
	if int(a) < len(activationNames) {
		return activationNames[a]
	}
	return fmt.Sprintf("Activation(%d)", uint8(a))
}

var activationNames = [...]string{"linear", "relu", "sigmoid", "tanh"}

// GRUConfig is the sizes of a stack of GRU layers.
type GRUConfig struct {
	In, Hidden, Layers int
	// Out > 0 puts a dense layer with activation Act on the last hidden state
	// of every step; 0 makes the hidden states themselves the output.
	Out int
	Act Activation
}

// Width is the number of output features of a step.
func (c GRUConfig) Width() int {
	if c.Out > 0 {
		return c.Out
	}
	return c.Hidden
}

// MLPConfig is the sizes of a stack of dense layers, y = a(x·wᵀ + b) each.
type MLPConfig struct {
	Sizes       []int // features: input, hidden …, output
	Hidden, Out Activation
}

// View is one named tensor inside a network's flat parameters.
type View struct {
	Name  string
	Shape []int // row-major
	Data  []float32
}

// Params is a network's parameters: one flat slice, for optimisers and
// gradients, and its tensors by name, for checkpoints and initialisers. Names,
// shapes and gate order are PyTorch's.
type Params struct {
	Data  []float32
	Views []View // in the order of Data, without gaps
}

// View returns the tensor of that name. It panics where there is none.
func (p *Params) View(name string) View {
	for _, v := range p.Views {
		if v.Name == name {
			return v
		}
	}
	panic(fmt.Sprintf("compute: no parameter %q", name))
}
