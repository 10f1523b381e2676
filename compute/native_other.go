//go:build !amd64

package compute

// native reports false: the assembly is for amd64.
func native(Kernels) bool { return false }
