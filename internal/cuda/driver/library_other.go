//go:build !linux || !(amd64 || arm64)

package driver

import (
	"errors"
	"runtime"
)

const libraryName = "libcuda.so.1"

func openLibrary(name string) (uintptr, error) {
	return 0, errors.New(name + ": CUDA is used on linux/amd64 and linux/arm64 only, this is " + runtime.GOOS + "/" + runtime.GOARCH)
}

func lookup(uintptr, string) (uintptr, error) { return 0, errors.New("no library") }

//go:uintptrescapes
func invoke(uintptr, ...uintptr) int { panic("driver: no library") }
