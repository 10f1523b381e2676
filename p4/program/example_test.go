package program_test

import (
	"fmt"

	"github.com/planegym/planegym/p4/program"
)

// Load the program that sets limits by choosing a queue, and turn a route into
// the ids of its P4Info.
func Example() {
	p, err := program.Load(program.Queue)
	if err != nil {
		panic(err)
	}
	names, err := program.ParseNames(p.P4Info)
	if err != nil {
		panic(err)
	}
	route := program.Entry{
		Table:  program.Routes,
		Match:  map[string]string{"h.ipv4.dst": "10.0.1.0/24"},
		Action: "I.forward",
		Params: map[string]string{"dmac": "00:00:00:00:01:01", "port": "2"},
	}
	e, err := names.Entry(route)
	if err != nil {
		panic(err)
	}
	fmt.Printf("prefix % x/%d\n", e.Match[0].Value, e.Match[0].Prefix)
	route.Params["port"] = "4096"
	_, err = names.Entry(route)
	fmt.Println(err)
	// Output:
	// prefix 0a 00 01 00/24
	// action I.forward: port: 4096 has 13 bits, its type bit<9>
}

// Numbers are sent as the shortest byte string that holds them.
func ExampleCanonical() {
	b, err := program.Canonical(300, 32)
	fmt.Printf("% x %v\n", b, err)
	// Output: 01 2c <nil>
}
