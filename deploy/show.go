package deploy

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
)

// Shown is what a switch says of itself.
type Shown struct {
	Switch  string      `json:"switch"`
	Primary string      `json:"primary"` // election id of the primary, "none", or "not known"
	Ports   []ShownPort `json:"ports"`
	UpS     float64     `json:"up_s,omitempty"` // over Thrift, where it is known
	Err     string      `json:"err,omitempty"`
}

// ShownPort is a port whose limit is set.
type ShownPort struct {
	Port    p4.Port  `json:"port"`
	Limit   p4.Limit `json:"limit"`   // in force; 0: not known
	Queue   int      `json:"queue"`   // that the limit picks; -1: none, or a meter
	Packets int64    `json:"packets"` // that hit the limit's entry; -1: not known
	Err     string   `json:"err,omitempty"`
}

// Show asks every switch for its primary, and of each port for the limit in
// force and the packets that met it. It changes nothing.
func Show(ctx context.Context, inv inventory.Inventory, safe p4.Limit) []Shown {
	inv = inv.WithDefaults(safe)
	all := make([]Shown, len(inv))
	var wg sync.WaitGroup
	for i, c := range inv {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, callTime)
			defer cancel()
			all[i] = show(ctx, c)
		})
	}
	wg.Wait()
	return all
}

func show(ctx context.Context, c inventory.Switch) Shown {
	s := Shown{Switch: c.Name, Primary: "not known", Ports: []ShownPort{}}
	if c.Thrift != "" {
		if t, err := thriftOf(c); err == nil {
			if up, err := t.Uptime(ctx); err == nil {
				s.UpS = up.Seconds()
			}
			t.Close()
		}
	}
	if c.Actuator == inventory.Thrift {
		s.Err = "actuator thrift: Thrift cannot read depths"
		return s
	}
	r, err := p4rt.Open(asBackup(p4rt.Config{Switch: c}))
	if err != nil {
		s.Err = err.Error()
		return s
	}
	defer r.Close()
	if err := r.Ready(ctx); err != nil {
		s.Err = err.Error()
		return s
	}
	if st := r.State(); st.Status == codes.AlreadyExists {
		s.Primary = fmt.Sprintf("%d:%d", st.Election.High, st.Election.Low)
	} else {
		s.Primary = "none"
	}
	for _, port := range c.Ports {
		p := ShownPort{Port: port, Queue: -1, Packets: -1}
		p.Limit, err = r.Limit(ctx, port)
		if err == nil {
			for q, d := range c.Queues {
				if d == p.Limit && c.Mode != "meter" {
					p.Queue = q
				}
			}
			p.Packets, err = r.Count(ctx, port)
		}
		if errors.Is(err, p4.ErrNoLimit) {
			p.Limit, err = c.Safe, nil // the table's default entry, once a client has been there
			p.Err = "none was set: the default holds"
		}
		if err != nil {
			p.Err = err.Error()
		}
		s.Ports = append(s.Ports, p)
	}
	return s
}
