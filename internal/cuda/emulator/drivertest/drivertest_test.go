package drivertest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/emulator/drivertest"
)

// on runs f on a thread with an open device.
func on(t *testing.T, d *drivertest.Driver, f func() error) error {
	t.Helper()
	th := driver.NewThread()
	defer th.Close()
	return th.Do(func() error {
		if _, err := d.Open(0); err != nil {
			return err
		}
		return errors.Join(f(), d.Close())
	})
}

func TestSelfTest(t *testing.T) {
	d := &drivertest.Driver{}
	if err := on(t, d, func() error { _, err := driver.SelfTest(d); return err }); err != nil {
		t.Fatal(err)
	}
	d.Check(t)
	if g := d.Graphs(); len(g) != 1 || g[0] != (drivertest.Graph{Nodes: 1, Kernels: 1, Launched: 1}) {
		t.Errorf("graphs %+v", g)
	}
	if n := d.CallsOf("cuLaunchKernel"); n != 2 {
		t.Errorf("%d launches", n)
	}
}

// Each call that fails is what the error names, and leaves nothing behind.
func TestEachCallFailing(t *testing.T) {
	whole := &drivertest.Driver{}
	if err := on(t, whole, func() error { _, err := driver.SelfTest(whole); return err }); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= whole.Calls(); n++ {
		d := &drivertest.Driver{}
		d.FailAt(n)
		err := on(t, d, func() error { _, err := driver.SelfTest(d); return err })
		if err == nil || d.Failed() == "" || !strings.Contains(err.Error(), d.Failed()) {
			t.Errorf("call %d, %s: error %v", n, d.Failed(), err)
		}
		d.Check(t)
	}
	if n := whole.Calls(); n < 20 {
		t.Errorf("the self-test makes %d calls", n)
	}
}

func TestAbsent(t *testing.T) {
	d := &drivertest.Driver{Absent: "none was put in"}
	if _, err := d.Count(); !errors.Is(err, compute.ErrNoDevice) || !strings.Contains(err.Error(), "none was put in") {
		t.Error(err)
	}
}
