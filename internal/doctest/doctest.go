// Package doctest tests that the commands in README.md and docs work as printed, page by page, each page in an empty folder.
//
// In a page, a fenced block is run by its info string:
//
//	sh         shell commands, in the page's folder
//	sh root    shell commands, at the root of a clone
//	python     a Python program, where PLANEGYM_PYTHON names an interpreter that
//	           has the planegym package; else skipped
//	… netns    in a network namespace of its own, as its root (unshare -rn); skipped
//	           where that is not allowed
//	… needs=X  skipped where there is no program X
//	… long     only where PLANEGYM_DOCS=long: it takes over a minute
//	… apart    shown but not run: it needs what a test machine has not
//
// A command that serves (serve, testbed --p4runtime) runs in the background
// until the page ends. Blocks of other kinds, output among them, are not run.
package doctest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Block is a fenced block of a page.
type Block struct {
	Line int      // of its first line of text, from 1
	Info []string // the words behind the fence
	Text string
}

// Is reports whether the block's info string has the word.
func (b Block) Is(word string) bool { return slices.Contains(b.Info, word) }

// Blocks are the fenced blocks of a page's Markdown.
func Blocks(markdown string) ([]Block, error) {
	var all []Block
	var open *Block
	ticks := 0 // of the fence that opened the block: one as long or longer ends it
	for i, line := range strings.Split(markdown, "\n") {
		text := strings.TrimLeft(line, " ")
		info := strings.TrimLeft(text, "`")
		n := len(text) - len(info)
		switch {
		case n >= 3 && open == nil:
			open, ticks = &Block{Line: i + 2, Info: strings.Fields(info)}, n
		case open != nil && n >= ticks && strings.TrimSpace(info) == "":
			all = append(all, *open)
			open = nil
		case open != nil:
			open.Text += line + "\n"
		}
	}
	if open != nil {
		return all, fmt.Errorf("doctest: line %d: the block does not end", open.Line)
	}
	return all, nil
}

// serves matches a command that ends only when it is asked to.
var serves = regexp.MustCompile(`^(planegym|go run ./cmd/planegym) (serve\b|testbed .*--p4runtime)`)

// Needs are the programs without which the block is skipped.
func (b Block) Needs() (programs []string) {
	for _, word := range b.Info {
		if name, ok := strings.CutPrefix(word, "needs="); ok {
			programs = append(programs, name)
		}
	}
	return programs
}

// Script is the shell script of a block: it stops at the first command that
// fails, and what serves goes to the background until a client is answered.
func (b Block) Script() string {
	var s strings.Builder
	s.WriteString("set -euo pipefail\n")
	for line := range strings.Lines(b.Text) {
		line = strings.TrimSuffix(line, "\n")
		bare := strings.TrimSuffix(strings.TrimSpace(strings.SplitN(line, " #", 2)[0]), "&")
		if !serves.MatchString(bare) {
			s.WriteString(line + "\n")
			continue
		}
		fmt.Fprintf(&s, "%s >\"$SERVE_LOG\" 2>&1 &\n", strings.TrimSpace(bare))
		s.WriteString("for _ in $(seq 600); do grep -qE 'serving |ready|switches' \"$SERVE_LOG\" && break; kill -0 $! || { cat \"$SERVE_LOG\"; exit 1; }; sleep .1; done\n")
	}
	return s.String()
}
