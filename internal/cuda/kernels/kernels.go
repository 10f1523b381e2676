// Package kernels holds the kernels of TimeGAN for NVIDIA GPUs: CUDA C++ and
// the PTX that clang makes of it, for sm_80 and later.
package kernels

import _ "embed"

//go:generate clang++-19 -x cuda --cuda-device-only --cuda-gpu-arch=sm_80 --cuda-feature=+ptx70 -nocudainc -nocudalib -O3 -ffp-contract=fast -fno-exceptions -std=c++17 -Wall -Wextra -Werror -S kernels.cu -o kernels.ptx

// PTX is what the driver compiles for the device at hand.
//
//go:embed kernels.ptx
var PTX []byte
