package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/bmv2"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/program"
)

// Provisioned is what a switch's queues were given.
type Provisioned struct {
	Switch string     `json:"switch"`
	Ports  []p4.Port  `json:"ports"`
	Depths []p4.Limit `json:"depths"`        // by queue id, of every port
	Rate   int64      `json:"rate"`          // packets/s, 0: not set
	UpS    float64    `json:"up_s"`          // how long the switch has run
	Err    string     `json:"err,omitempty"` // why not
}

// Provision gives the queues of every switch that has the key thrift their
// depths, and, where service_pps is known, their rate. It goes on where a
// switch fails, and gives the errors of all.
func Provision(ctx context.Context, inv inventory.Inventory, safe p4.Limit) ([]Provisioned, error) {
	var all []Provisioned
	var errs []error
	for _, c := range inv.WithDefaults(safe) {
		p := Provisioned{Switch: c.Name, Ports: c.Ports, Depths: c.Queues, Rate: c.ServicePPS}
		err := errors.New("it has no key thrift: its queues are provisioned by other means")
		if c.Actuator == inventory.Thrift {
			err = errors.New("actuator thrift sets the depths themselves: there is nothing to provision")
		} else if c.Thrift != "" {
			p.UpS, err = provision(ctx, c)
		}
		if err != nil {
			p.Err = err.Error()
			errs = append(errs, fmt.Errorf("deploy: provision %s: %w", c.Name, err))
		}
		all = append(all, p)
	}
	return all, errors.Join(errs...)
}

// provision sets depths and rates of a switch, and tells how long it has run.
func provision(ctx context.Context, c inventory.Switch) (up float64, err error) {
	t, err := thriftOf(c)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	for _, port := range c.Ports {
		for q, depth := range c.Queues {
			if err := t.SetPriorityQueueDepth(ctx, port, q, depth); err != nil {
				return 0, err
			}
		}
		if c.ServicePPS > 0 {
			if err := t.SetQueueRate(ctx, port, c.ServicePPS); err != nil {
				return 0, err
			}
		}
	}
	d, err := t.Uptime(ctx)
	return d.Seconds(), err
}

func thriftOf(c inventory.Switch) (*bmv2.Client, error) {
	return bmv2.New(bmv2.Config{Addr: c.Thrift, Timeout: c.Timeout, Dial: c.DialThrift})
}

// provisioner is what a client calls when its switch may have lost its queues'
// depths; nil where nothing can set them.
func provisioner(c inventory.Switch) func(context.Context) error {
	if c.Thrift == "" || c.Mode == program.Meter {
		return nil
	}
	return func(ctx context.Context) error {
		_, err := provision(ctx, c)
		return err
	}
}

// rated is a switch reached over Thrift alone. It sets the rate of a port
// before the first limit of this run of the switch.
type rated struct {
	*bmv2.Client
	pps int64
}

func (r rated) SetLimit(ctx context.Context, port p4.Port, l p4.Limit) error {
	if _, err := r.Limit(ctx, port); r.pps > 0 && errors.Is(err, p4.ErrNoLimit) {
		if err := r.SetQueueRate(ctx, port, r.pps); err != nil {
			return err
		}
	}
	return r.Client.SetLimit(ctx, port, l)
}
