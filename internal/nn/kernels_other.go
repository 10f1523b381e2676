//go:build !amd64

package nn

func native(Kernels) *kernels { return nil }
