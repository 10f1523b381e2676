package cuda

import (
	"errors"

	"github.com/planegym/planegym/internal/cuda/driver"
)

// Kernel is what the driver's compiler made of one.
type Kernel struct {
	Name string `json:"name"`
	driver.Attributes
}

// Report is a device and what its driver makes of the kernels.
type Report struct {
	driver.Info
	Kernels []Kernel `json:"kernels"`
}

// Inspect opens device number ordinal, compiles the kernels for it, and has it
// compute something.
func Inspect(d driver.Driver, ordinal int) (r Report, err error) {
	t := driver.NewThread()
	defer t.Close()
	err = t.Do(func() error {
		dev, err := openDevice(d, ordinal, 1)
		if err != nil {
			return err
		}
		r.Info = dev.info
		for i, name := range functions {
			a, err := d.Attributes(dev.f[i])
			if err != nil {
				return errors.Join(err, dev.close())
			}
			r.Kernels = append(r.Kernels, Kernel{name, a})
		}
		_, err = driver.SelfTest(d)
		return errors.Join(err, dev.close())
	})
	return r, err
}
