// Package emulator proves the kernels of package cuda on machines without a GPU.
//
// Its packages are a PTX interpreter (ptxvm) and a CUDA driver that runs kernels
// in it (drivertest); its tests run the engine, its kernels one by one and the
// commands on that driver, and on a GPU where there is one. They are a module
// of their own, so that nothing of it comes along with planegym. The test of
// package cuda runs them.
package emulator
