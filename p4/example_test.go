package p4_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/planegym/planegym/p4"
)

// limits is a switch that remembers the limit of each port.
type limits map[p4.Port]p4.Limit

func (m limits) SetLimit(_ context.Context, port p4.Port, l p4.Limit) error {
	m[port] = l
	return nil
}

func (m limits) Limit(_ context.Context, port p4.Port) (p4.Limit, error) {
	if l, ok := m[port]; ok {
		return l, nil
	}
	return 0, p4.ErrNoLimit
}

func (m limits) Close() error { return nil }

// Set a queue of each of two switches. Real switches come from packages p4rt
// and bmv2; a queue that has no limit yet is named in the error.
func ExampleGroup() {
	ctx := context.Background()
	g := p4.Group{limits{}, limits{}}
	defer g.Close()
	got, err := g.Set(ctx, []p4.Queue{{Switch: 0, Port: 1}, {Switch: 1, Port: 2}}, []p4.Limit{32, 64})
	if err != nil {
		panic(err)
	}
	for _, q := range got {
		fmt.Printf("switch %d port %d: %d packets\n", q.Switch, q.Port, q.Limit)
	}
	_, err = g.Read(ctx, []p4.Queue{{Switch: 0, Port: 9}})
	fmt.Println("no limit:", errors.Is(err, p4.ErrNoLimit))
	// Output:
	// switch 0 port 1: 32 packets
	// switch 1 port 2: 64 packets
	// no limit: true
}

// A limit has to fit enq_qdepth, a field of 19 bits.
func ExampleLimit_Check() {
	fmt.Println(p4.Limit(64).Check())
	fmt.Println((p4.MaxLimit + 1).Check() != nil)
	// Output:
	// <nil>
	// true
}
