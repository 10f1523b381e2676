// Package compute chooses the kernels and threads that run neural networks on
// this processor (Backend), and defines the network shapes and parameters that
// all engines share (GRUConfig, Params).
//
//	k, err := compute.ParseKernels("auto")
//	be := compute.NewBackend(k, runtime.NumCPU())
//	defer be.Close()
//	trainer, err := agent.NewTrainer(config, vector, seed, be)
//
// Results do not depend on the number of threads. They do depend on the kernel
// set: sets agree within rounding, not in bytes.
package compute

import (
	"errors"
	"fmt"
)

// ErrNoDevice is the error of work that needs an accelerator where there is
// none, or none that can be used. The error that wraps it says which and why.
var ErrNoDevice = errors.New("no usable NVIDIA GPU")

// Kernels names a set of kernels. Sets agree within rounding, not in bytes.
type Kernels uint8

// The kernel sets. Reference is plain float64 loops, row by row, in the form
// of the equations: the oracle of the others. Go is fused float32 loops, with
// equal bytes on every architecture. AVX2 (with FMA) and AVX512 (F, DQ, VL)
// are assembly for amd64.
const (
	Reference Kernels = 1 + iota
	Go
	AVX2
	AVX512
)

var kernelNames = [...]string{Reference: "reference", Go: "go", AVX2: "avx2", AVX512: "avx512"}

func (k Kernels) String() string {
	if k >= 1 && int(k) < len(kernelNames) {
		return kernelNames[k]
	}
	return fmt.Sprintf("Kernels(%d)", uint8(k))
}

// Runs reports whether this machine runs k.
func (k Kernels) Runs() bool {
	switch k {
	case Reference, Go:
		return true
	}
	return native(k)
}

// Available lists the kernel sets that this machine runs, the fastest last.
func Available() []Kernels {
	var all []Kernels
	for k := Reference; int(k) < len(kernelNames); k++ {
		if k.Runs() {
			all = append(all, k)
		}
	}
	return all
}

// Fastest is the fastest kernel set that this machine runs.
func Fastest() Kernels {
	all := Available()
	return all[len(all)-1]
}

// ParseKernels returns the kernel set of that name; "auto" is the fastest that
// this machine runs. A set that it does not run is an error.
func ParseKernels(name string) (Kernels, error) {
	if name == "auto" {
		return Fastest(), nil
	}
	all := Available()
	for _, k := range all {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("compute: kernels: %q is neither auto nor one that this machine runs: %v", name, all)
}
