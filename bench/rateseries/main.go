package main

import (
	"fmt"
	"os"
)

func main() {
	for _, tick := range []float64{.1, .5, 1} {
		s, err := siot(os.Args[1], tick)
		if err != nil {
			panic(err)
		}
		n := map[string]int{}
		nz := map[string]float64{}
		for _, x := range s.Sessions {
			n[s.Of.Labels[x.Label]]++
			for _, v := range x.Steps {
				if v > 0 {
					nz[s.Of.Labels[x.Label]] += 1. / 256
				}
			}
		}
		for k := range nz {
			nz[k] /= float64(n[k])
		}
		fmt.Println(tick, n, nz)
	}
	m, err := mirage(os.Args[2], 1000000)
	if err != nil {
		panic(err)
	}
	n := map[string]int{}
	nz := 0.
	for _, x := range m.Sessions {
		n[m.Of.Labels[x.Label]]++
		for _, v := range x.Steps {
			if v > 0 {
				nz += 1. / 256 / float64(m.Len())
			}
		}
	}
	fmt.Println(n, nz)
}
