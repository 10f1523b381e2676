package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/p4"
)

func TestJournalIsReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "j.jsonl")
	j, err := OpenJournal(file, "agent")
	if err != nil {
		t.Fatal(err)
	}
	reward := float32(-2)
	for _, e := range []Entry{
		{Event: "begin"},
		{Event: "set", Step: 1, Asked: []p4.Limit{32, 64}, Got: []Got{{Switch: "s1", Port: 1, Limit: 32}, {Switch: "s2", Port: 1, Error: "away"}}},
		{Event: "step", Step: 1, Reward: &reward},
	} {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := ReadJournal(strings.NewReader(string(text)))
	if err != nil || len(all) != 3 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	if got := all[1]; got.By != "agent" || got.Step != 1 || got.Asked[1] != 64 || got.Got[1].Error != "away" || *all[2].Reward != -2 {
		t.Errorf("%+v", all)
	}
	// At every cut, all whole lines are read; within a line the cut is said.
	for n := range text {
		got, err := ReadJournal(strings.NewReader(string(text[:n])))
		whole := strings.Count(string(text[:n]), "\n")
		if inside := n > 0 && text[n-1] != '\n'; len(got) != whole || errors.Is(err, ErrCut) != inside {
			t.Fatalf("cut at %d: %d entries of %d, %v", n, len(got), whole, err)
		}
	}
	for bad, want := range map[string]string{
		"{}\n":                "line 1: no journal entry",
		string(text) + "[]\n": "line 4: ",
	} {
		if _, err := ReadJournal(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
