package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/planegym/planegym/internal/atomicfile"
)

// mark matches the first of the two comments around a table in its document, and
// names the command that makes the table:
//
//	<!-- table hours: go run ./bench/tables hours -->
//	<!-- end of table hours -->
var mark = regexp.MustCompile(`(?m)^<!-- table ([a-z0-9-]+): (.*) -->$`)

func begins(name string) string {
	return fmt.Sprintf("<!-- table %s: go run ./bench/tables %s -->\n", name, name)
}

func ends(name string) string { return fmt.Sprintf("<!-- end of table %s -->\n", name) }

// replace puts text between a table's markers.
func replace(document, name, text string) (string, error) {
	for _, m := range []string{begins(name), ends(name)} {
		if n := strings.Count(document, m); n != 1 {
			return "", fmt.Errorf("%d lines %q, expected one", n, strings.TrimSpace(m))
		}
	}
	from, to := strings.Index(document, begins(name))+len(begins(name)), strings.Index(document, ends(name))
	if to < from {
		return "", fmt.Errorf("table %s ends before it begins", name)
	}
	return document[:from] + "\n" + strings.TrimSpace(text) + "\n\n" + document[to:], nil
}

// rewrite puts a table's text into its document.
func rewrite(root string, t table, text string) error {
	path := filepath.Join(root, filepath.FromSlash(t.doc))
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	after, err := replace(string(before), t.name, text)
	if err != nil {
		return fmt.Errorf("%s: %w", t.doc, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, after)
		return err
	})
}

// checkDocuments reports tables without markers, and markers without a table.
func checkDocuments(root string) error {
	var all []error
	marked := map[string]string{} // table: document
	var docs []string
	for _, t := range tables {
		if !slices.Contains(docs, t.doc) {
			docs = append(docs, t.doc)
		}
	}
	for _, doc := range docs {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(doc)))
		if err != nil {
			return err
		}
		for _, m := range mark.FindAllStringSubmatch(string(text), -1) {
			if m[2] != "go run ./bench/tables "+m[1] {
				all = append(all, fmt.Errorf("%s: table %s: its command is %q", doc, m[1], m[2]))
			}
			marked[m[1]] = doc
		}
		for _, t := range tables {
			if t.doc == doc {
				if _, err := replace(string(text), t.name, ""); err != nil {
					all = append(all, fmt.Errorf("%s: %w", doc, err))
				}
			}
		}
	}
	for name, doc := range marked {
		if t, err := find(name); err != nil || t.doc != doc {
			all = append(all, fmt.Errorf("%s: there is no recipe for its table %s", doc, name))
		}
	}
	return errors.Join(all...)
}
