package cuda_test

import (
	"testing"

	"github.com/planegym/planegym/internal/cuda"
	"github.com/planegym/planegym/internal/cuda/driver"
	"github.com/planegym/planegym/internal/cuda/drivertest"
	"github.com/planegym/planegym/timegan"
	"github.com/planegym/planegym/timegan/enginetest"
)

// fake opens an engine on a driver without a device.
func fake(t testing.TB) timegan.Engine {
	t.Helper()
	d := &drivertest.Driver{Device: driver.Info{SMs: 2}}
	e, err := cuda.New(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		d.Check(t)
		t.Log(d.Stats())
	})
	return e
}

func TestContract(t *testing.T) {
	enginetest.Check(t, func(t *testing.T) timegan.Engine { return fake(t) })
}
