package doppelganger

import (
	"context"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/safetensors"
	"github.com/planegym/planegym/traffic"
)

type likelihood struct{}

func (l *likelihood) tensors() []safetensors.Tensor                     { return nil }
func readLikelihood(m *Model, f *safetensors.File) (*likelihood, error) { return nil, nil }
func (m *Model) fitLikelihood(ctx context.Context, be *compute.Backend, set *traffic.Set, o FitOptions) (*Model, error) {
	return nil, nil
}
