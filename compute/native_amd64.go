package compute

import "golang.org/x/sys/cpu"

// native reports whether this processor runs assembly k.
func native(k Kernels) bool {
	x := &cpu.X86
	avx2 := x.HasAVX2 && x.HasFMA
	switch k {
	case AVX2:
		return avx2
	case AVX512:
		return avx2 && x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512VL
	}
	return false
}
