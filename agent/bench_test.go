//go:build unix

package agent

import (
	"fmt"
	"testing"

	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/internal/testkit"
)

// An update from 32 transitions, and the greedy actions of 256 rows: networks
// of two layers of 64, which is what Stable-Baselines3's DQN has.
func BenchmarkDDQN(b *testing.B) {
	const rows = 256
	for i := range 2 * len(compute.Available()[1:]) {
		k, threads := compute.Available()[1+i/2], 1+i%2
		c := testConfig(b, func(c *Config) { c.Hidden, c.Batch, c.Replay = []int{64, 64}, 32, 50_000 })
		be := compute.NewBackend(k, threads)
		defer be.Close()
		d, err := NewDDQN(c, testSpaces(9, 4), 1, be)
		if err != nil {
			b.Fatal(err)
		}
		r := filled(d, c.Replay)
		b.Run(fmt.Sprintf("update/%v/threads%d", k, threads), func(b *testing.B) {
			testkit.PerOp(b, func() {
				if _, _, err := d.update(r, 1, .5); err != nil {
					b.Fatal(err)
				}
			})
		})
		obs, actions := make([]float32, rows*d.dim), make([]int32, rows)
		copy(obs, r.obs)
		b.Run(fmt.Sprintf("act/%v/threads%d", k, threads), func(b *testing.B) {
			testkit.PerOp(b, func() { d.Act(nil, obs, actions) })
		})
	}
}
