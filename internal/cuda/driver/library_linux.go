//go:build amd64 || arm64

package driver

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/ebitengine/purego"
)

// libraryName is NVIDIA's user-mode driver, which comes with the kernel's, not
// with the toolkit.
const libraryName = "libcuda.so.1"

// openLibrary opens a shared library for good: the driver does not bear being
// closed and opened again.
func openLibrary(name string) (uintptr, error) {
	runtime.LockOSThread() // dlerror is this thread's
	defer runtime.UnlockOSThread()
	h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, err // dlerror names the library
	}
	return h, nil
}

func lookup(library uintptr, name string) (uintptr, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := purego.Dlsym(library, name)
	if err != nil {
		// dlerror repeats the library's path, which says nothing here
		return 0, fmt.Errorf("%s is missing: %s", name, strings.TrimSpace(err.Error()))
	}
	return p, nil
}

// invoke calls a C function whose result is an int.
//
//go:uintptrescapes
func invoke(f uintptr, args ...uintptr) int {
	r, _, _ := purego.SyscallN(f, args...)
	return int(int32(r))
}
