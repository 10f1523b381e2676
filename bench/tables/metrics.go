package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/planegym/planegym/eval"
	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/telemetry"
)

// Twelve fits on each of two testbeds, fixed beforehand: three modes, one hour and
// ten, two seeds, small budgets.
var (
	metricTestbeds = []string{"contended", "site"}
	metricModes    = []struct{ name, flags, quick string }{
		{"structured", "--mode structured", "--mode structured"},
		{"closed", "--set updates=250", "--set updates=20"},
		{"timegan", "--mode timegan --set embed=300 --set super=100 --set joint=300", "--mode timegan --set embed=10 --set super=10 --set joint=10"},
	}
)

// metricModel is one of the twelve.
type metricModel struct {
	name, flags string
	hours, seed int
}

func metricModels(quick bool) (all []metricModel) {
	for _, m := range metricModes {
		flags := m.flags
		if quick {
			flags = m.quick
		}
		for _, hours := range []int{1, 10} {
			for seed := range 2 {
				all = append(all, metricModel{fmt.Sprintf("%s-%d-%d", m.name, hours, seed), flags, hours, seed})
			}
		}
	}
	return all
}

// metricsSteps record, fit, and value policies on the testbeds and on the models.
func metricsSteps(quick bool) (steps []step) {
	truth, own, ten := 10, 6, 10
	testbeds, small := metricTestbeds, ""
	if quick {
		truth, own, ten, testbeds = 2, 2, 2, metricTestbeds[:1]
		small = " -steps 20 -policies fixed:32,fixed:64,fixed:128,random,codel:6000"
	}
	for _, s := range testbeds {
		some := small
		if s == "site" && !quick { // 27 of the 33 policies
			some = " -policies fixed:32,fixed:64,fixed:128,random,sticky:8,alternate,alternate:15,threshold:3000,threshold:6000,threshold:12000,threshold:22000,codel:6000," +
				"occupancy:0.42,occupancy:0.55,occupancy:0.7,occupancy:0.85,hysteresis:0.3:0.6,buffer:15,buffer:30,buffer:50,inverse:buffer:30,level,inverse:occupancy:0.42," +
				"delayed:3:occupancy:0.42,delayed:10:occupancy:0.42,noisy:0.2:occupancy:0.42,noisy:0.5:codel:6000"
		}
		record := "planegym testbed record --scenario " + s + " --schedule mixed --sessions %d --seed %d -o {out}"
		steps = append(steps,
			step{out: s + "/hours-1", command: fmt.Sprintf(record, 1, 2001)},
			step{out: s + "/hours-10", command: fmt.Sprintf(record, ten, 2001)},
			step{out: s + "/held", command: fmt.Sprintf(record, 5, 5001)},
			step{out: s + "/truth.json", command: fmt.Sprintf("transfer -truth %s -episodes %d%s -o {out}", s, truth, some)})
		for _, m := range metricModels(quick) {
			steps = append(steps,
				step{out: s + "/" + m.name + ".safetensors", command: fmt.Sprintf("planegym fit --kernels avx2 --progress none --data %s/hours-%d %s --set seed=%d -o {out}", s, m.hours, m.flags, m.seed)},
				step{out: s + "/" + m.name + ".txt", command: fmt.Sprintf("transfer -against %s/truth.json -episodes %d -metrics %s/held/recording.parquet %s/%s.safetensors", s, own, s, s, m.name)})
		}
	}
	return steps
}

// fit is a model: what it is worth, and what figures of recordings say of it.
type fit struct {
	name    string
	figures map[string]float64 // by the table's head; regret and rms among them
}

// renderMetrics prints each testbed's models, and how each figure goes with regret and
// with the error of a value.
func renderMetrics(dir string, quick bool) (string, error) {
	testbeds, models := metricTestbeds, metricModels(quick)
	if quick {
		testbeds = testbeds[:1]
	}
	var b strings.Builder
	groups := map[string][]fit{}
	var head []string
	for _, s := range testbeds {
		for _, m := range models {
			text, err := os.ReadFile(filepath.Join(dir, s, m.name+".txt"))
			if err != nil {
				return "", err
			}
			columns, f, err := parseFit(string(text))
			if err != nil {
				return "", fmt.Errorf("%s/%s.txt: %w", s, m.name, err)
			}
			f.name, head = m.name, columns
			groups[s] = append(groups[s], f)
		}
		g := newGrid(append([]string{s}, head...)...)
		for _, f := range groups[s] {
			cells := []string{f.name}
			for _, h := range head {
				format := "%.3f"
				if h == "regret" {
					format = "%.1f %%"
				}
				cells = append(cells, fmt.Sprintf(format, f.figures[h]))
			}
			g.row(cells...)
		}
		b.WriteString(g.String() + "\n")
	}
	columns := []string{"figure"}
	for _, of := range []string{"regret", "rms"} {
		for _, s := range testbeds {
			columns = append(columns, fmt.Sprintf("ρ with %s, %s", of, s))
		}
		if len(testbeds) > 1 {
			columns = append(columns, "both")
		}
	}
	g := newGrid(columns...)
	for _, h := range head {
		if h == "regret" || h == "rms" {
			continue
		}
		cells := []string{h}
		for _, of := range []string{"regret", "rms"} {
			var all [][]fit
			for _, s := range testbeds {
				cells = append(cells, goesWith(h, of, groups[s]))
				all = append(all, groups[s])
			}
			if len(testbeds) > 1 {
				cells = append(cells, goesWith(h, of, all...))
			}
		}
		g.row(cells...)
	}
	b.WriteString(g.String() + "\n")
	fmt.Fprintf(&b, "Spearman's ρ over the %d fits of a testbed, of both the mean of the two, 95 %% by resampling fits within a testbed. A figure that is worth looking at has an interval above 0.\n", len(models))
	return b.String(), nil
}

// parseFit reads the one row of the first table that transfer -metrics prints.
func parseFit(text string) (head []string, f fit, err error) {
	cells := func(line string) []string {
		all := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range all {
			all[i] = strings.TrimSpace(all[i])
		}
		return all
	}
	lines := strings.Split(text, "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "| model |") })
	if at < 0 || at+2 >= len(lines) {
		return nil, f, fmt.Errorf("there is no table of models: remove the file to make it again")
	}
	head = cells(lines[at])[1:]
	row := cells(lines[at+2])[1:]
	if len(row) != len(head) {
		return nil, f, fmt.Errorf("%d figures, %d columns", len(row), len(head))
	}
	f.figures = map[string]float64{}
	for i, cell := range row {
		if f.figures[head[i]], err = strconv.ParseFloat(strings.TrimSuffix(cell, " %"), 64); err != nil {
			return nil, f, err
		}
	}
	return head, f, nil
}

// goesWith is the rank correlation of a figure with what matters, the mean over groups
// of fits, and its interval.
func goesWith(figure, of string, groups ...[]fit) string {
	rho := func(groups [][]fit) float64 {
		sum := 0.
		for _, g := range groups {
			var a, b []float64
			for _, f := range g {
				a, b = append(a, f.figures[figure]), append(b, f.figures[of])
			}
			sum += eval.Spearman(a, b) / float64(len(groups))
		}
		return sum
	}
	var draws []float64
	for d := range 2000 {
		some := make([][]fit, len(groups))
		for i, g := range groups {
			key := rng.Key{Seed: 1, A: uint32(d), B: uint32(i), Purpose: rng.Bootstrap}
			for k := range g {
				some[i] = append(some[i], g[key.Intn(uint32(k), len(g))])
			}
		}
		if r := rho(some); !math.IsNaN(r) {
			draws = append(draws, r)
		}
	}
	slices.Sort(draws)
	return fmt.Sprintf("%.2f (%.2f … %.2f)", rho(groups), telemetry.Quantile(draws, .025), telemetry.Quantile(draws, .975))
}
