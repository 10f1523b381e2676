package main

import (
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/planegym/planegym/internal/cuda/driver"
)

// TestSelfTest runs on whatever libcuda.so.1 the loader finds: a GPU's, or the
// one that README.md compiles, which computes nothing but writes down calls.
func TestSelfTest(t *testing.T) {
	th := driver.NewThread()
	defer th.Close()
	err := th.Do(func() error {
		b := &binding{Driver: driver.New()}
		info, err := b.Open(0)
		if err != nil {
			return err
		}
		defer b.Close()
		t.Logf("%+v", info)
		a, err := driver.SelfTest(b)
		t.Logf("%+v", a)
		return err
	})
	if os.Getenv("FAKE_CUDA") != "" {
		if err == nil || err.Error() != "cuda: the probe computed 2021161080 at 0, want 630" {
			t.Errorf("the fake driver's copies are x's: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLaunch has the fake driver say what it was given: cu takes parameters of
// 8 bytes, and the struct of 16 must get there whole.
func TestLaunch(t *testing.T) {
	if os.Getenv("FAKE_CUDA") == "" {
		t.Skip("FAKE_CUDA is unset")
	}
	th := driver.NewThread()
	defer th.Close()
	err := th.Do(func() error {
		b := &binding{Driver: driver.New()}
		if _, err := b.Open(1); err != nil {
			return err
		}
		defer b.Close()
		calls(t)
		err := b.Launch(0x7f0000001000, [3]int{7, 2, 3}, [3]int{64, 4, 1}, 99000, 0x7f0000002000, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
		const want = "cuLaunchKernel(0x7f0000001000, 7 2 3, 64 4 1, 99000, 0x7f0000002000, params, extra 0 0 0: 0102030405060708090a0b0c0d0e0f10)\n"
		if got := calls(t); got != want {
			t.Errorf("%swant\n%s", got, want)
		}
		// a stream of cu's, captured by the embedded driver
		s, err2 := b.NewStream()
		if err2 != nil {
			return err2
		}
		g, err3 := b.Driver.EndCapture(s)
		if got := calls(t); err3 != nil || g == 0 || !strings.HasPrefix(got, "cuStreamCreate(1)\ncuStreamEndCapture(0x10") {
			t.Errorf("%v, calls\n%s", err3, got)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// calls returns what the fake driver wrote down since the last time.
func calls(t *testing.T) string {
	t.Helper()
	h, err := purego.Dlopen("libcuda.so.1", purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	take, err := purego.Dlsym(h, "fake_take")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	n, _, _ := purego.SyscallN(take, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return string(b[:n])
}
