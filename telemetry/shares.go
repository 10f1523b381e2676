package telemetry

import (
	"fmt"
	"math"
	"strings"
)

// Shares are the shares of seconds in which each column was measured, to 1/10,000, by
// name.
func (d *Dataset) Shares() map[string]float64 {
	out := map[string]float64{}
	for i, share := range d.Measured() {
		out[d.fields[i].Name] = math.Round(share*1e4) / 1e4
	}
	return out
}

// DescribeShares is Shares in words: columns of one share together, and those that were
// never measured.
func (d *Dataset) DescribeShares() string {
	var order []string
	names := map[string][]string{}
	for i, share := range d.Measured() {
		p := fmt.Sprintf("%.1f %%", 100*share)
		switch {
		case share == 0:
			p = "never"
		case share > .9995:
			p = "100 %"
		}
		if names[p] == nil {
			order = append(order, p)
		}
		names[p] = append(names[p], d.fields[i].Name)
	}
	var parts []string
	for _, p := range order {
		parts = append(parts, strings.Join(names[p], " ")+" "+p)
	}
	return strings.Join(parts, ", ")
}

// Sides reports whether any value of a switch was measured, and any of the player.
func (d *Dataset) Sides() (switches, player bool) {
	for i, share := range d.Measured() {
		if d.fields[i].Hop() > 0 {
			switches = switches || share > 0
		} else {
			player = player || share > 0
		}
	}
	return switches, player
}
