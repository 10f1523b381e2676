package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sample = `package sample

import "sync"

var mu sync.Mutex

func f(a []int, n int) (sum int) {
	mu.Lock()
	defer mu.Unlock()
	for i := 0; i < n; i++ {
		if a[i] >= 10 && n != 3 {
			sum += a[i] - 1
			continue
		}
		sum = 0
	}
	g(1.5)
	return sum
}

func g(x float64) {}
`

// Every operator finds its places, and what it makes of them is Go that differs
// there alone.
func TestSites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sample.go")
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := sites(dir, path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range found {
		before, after := strings.Split(sample, "\n"), strings.Split(string(m.apply([]byte(sample))), "\n")
		if len(before) != len(after) {
			t.Fatalf("%s: %d lines, were %d", m, len(after), len(before))
		}
		change := fmt.Sprint(m.Operator, " ", m.Line, ":")
		for i := range before {
			if before[i] != after[i] {
				change += " " + strings.TrimSpace(after[i])
			}
		}
		got = append(got, strings.TrimSpace(change))
	}
	want := []string{
		"lock 8:", "comparison 10: for i := 0; i <= n; i++ {", "comparison 10: for i := 0; i > n; i++ {", "condition 10: for i := 0; !(i < n); i++ {", "sign 10: for i := 0; i < n; i-- {",
		"constant 10: for i := 1; i < n; i++ {", "condition 11: if !(a[i] >= 10 && n != 3) {", "comparison 11: if a[i] > 10 && n != 3 {", "comparison 11: if a[i] <= 10 && n != 3 {",
		"comparison 11: if a[i] >= 10 && n == 3 {", "constant 11: if a[i] >= 11 && n != 3 {", "constant 11: if a[i] >= 10 && n != 4 {", "statement 12:", "sign 12: sum -= a[i] - 1",
		"sign 12: sum += a[i] + 1", "constant 12: sum += a[i] - 2", "statement 15:", "constant 15: sum = 1", "statement 17:", "constant 17: g(2.5)",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	a, b, other := slices.Clone(found), slices.Clone(found), slices.Clone(found)
	draw(a, 1, "./x")
	draw(b, 1, "x/")
	draw(other, 2, "x")
	order := func(all []mutant) (s []string) {
		for _, m := range all {
			s = append(s, m.String())
		}
		return s
	}
	if !slices.Equal(order(a), order(b)) || slices.Equal(order(a), order(other)) {
		t.Error("the order is not the seed's")
	}
}

func TestUnexecuted(t *testing.T) {
	got := unexecuted("mode: set\nm/p/a.go:3.10,5.2 1 0\nm/p/a.go:5.2,9.3 2 1\nm/p/b.go:1.1,2.2 1 0\n")
	if fmt.Sprint(got) != "map[a.go:map[3:true 4:true] b.go:map[1:true 2:true]]" {
		t.Error(got)
	}
}
