//go:build !amd64

package nn

import "github.com/planegym/planegym/compute"

func native(compute.Kernels) *kernels { return nil }
