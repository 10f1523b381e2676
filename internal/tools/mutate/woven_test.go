package main

import (
	"os"
	"path/filepath"
	"testing"
)

const (
	wovenCode = `// Package calc has what mutants are made of.
package calc

import (
	"errors"
	"time"
)

const most = 3

var table = [4]int{1, 2, 3, 4}

type money int64

type number interface{ ~int | ~float64 }

func sum[T number](xs []T) (t T) {
	for i := 0; i < len(xs); i++ {
		if xs[i] > 0 &&
			i <= most {
			t += xs[i]
		}
	}
	return t
}

func fee(m money, late bool) (money, error) {
	switch {
	case m < 0:
		return 0, errors.New("negative" + " amount")
	case m >= 100 && !late:
		return m/10 - 1, nil
	}
	n := 0
	for range 3 {
		n++
	}
	return m + money(n)*2, nil
}

func wait(d time.Duration) time.Duration {
	if d == 0 {
		d = 2 * time.Second
	}
	return d + 1<<10
}

func unused(x float64) bool { return x != 1.5 }

func at(i int) int { return table[i] }
`
	wovenTests = `package calc

import (
	"testing"
	"time"
)

func TestSum(t *testing.T) {
	if got := sum([]int{1, -2, 3, 4, 5}); got != 8 {
		t.Error(got)
	}
	if got := sum([]float64{.5}); got != .5 {
		t.Error(got)
	}
}

func TestFee(t *testing.T) {
	for in, want := range map[money]money{0: 6, 99: 105, 100: 9, 250: 24} {
		if got, err := fee(in, false); got != want || err != nil {
			t.Error(in, got, err)
		}
	}
	if got, _ := fee(100, true); got != 106 {
		t.Error(got)
	}
	if _, err := fee(-1, false); err == nil {
		t.Error("negative")
	}
}

func TestWait(t *testing.T) {
	if got := wait(time.Minute); got != time.Minute+1024 {
		t.Error(got)
	}
	if at(1) != 2 {
		t.Error("at")
	}
}
`
)

// All mutants in one binary come to what each of them comes to that is compiled
// by itself.
func TestWovenAgrees(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module calc\n\ngo 1.26\n", "calc.go": wovenCode, "calc_test.go": wovenTests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := 24 // of 77; all of them agree, too
	if testing.Short() {
		n = 8
	}
	outcomes := map[bool]map[string]string{}
	for _, each := range []bool{false, true} {
		r := run{root: dir, each: each}
		seeds := []uint64{1}
		if !each {
			seeds = append(seeds, 2)
		}
		var got []summary
		err := r.pkg(".", n, seeds, "", false, func(mutant) {}, func(s summary) error { got = append(got, s); return nil })
		if err != nil {
			t.Fatal(err)
		}
		outcomes[each] = map[string]string{}
		for i, s := range got {
			if s.Seed != seeds[i] || len(s.Mutants) != n || s.Killed > n {
				t.Errorf("seed %d: %d mutants, %d killed", s.Seed, len(s.Mutants), s.Killed)
			}
			for _, m := range s.Mutants {
				outcomes[each][m.String()] = m.Outcome
			}
		}
		if len(got) != len(seeds) || !each && len(outcomes[false]) <= n {
			t.Errorf("%d seeds, %d mutants", len(got), len(outcomes[each]))
		}
	}
	survived := 0
	for m, want := range outcomes[true] {
		if want == survives {
			survived++
		}
		if got := outcomes[false][m]; got != want {
			t.Errorf("%s: %q woven, %q by itself", m, got, want)
		}
	}
	if !testing.Short() && (survived < 2 || survived > len(outcomes[true])/2) {
		t.Errorf("%d of %d survive: the sample says little", survived, len(outcomes[true]))
	}
}
