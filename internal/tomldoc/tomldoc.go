// Package tomldoc writes the reference of a TOML file's keys from the Go types
// that it is decoded into: names and types by reflection, meanings and defaults
// from the fields' comments.
package tomldoc

import (
	"encoding"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

// Source finds the comments of types: packages of Module lie under Root.
type Source struct {
	Root, Module string

	comments map[string]map[string]string // import path, type.field → comment
}

// Markdown documents v's type: a table for the top level and one for each
// nested table, in the order of the fields.
func (s *Source) Markdown(v any) (string, error) {
	var b strings.Builder
	err := s.table(&b, reflect.TypeOf(v), "", map[reflect.Type]string{})
	return b.String(), err
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// nested gives the struct that a field's value holds as a table, and whether
// it is an array of them.
func nested(t reflect.Type) (table reflect.Type, array bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		return t.Elem(), true
	}
	if t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textUnmarshaler) {
		return t, false
	}
	return nil, false
}

// table writes the keys of t, which lies under prefix; seen are the tables
// that were written, by where.
func (s *Source) table(b *strings.Builder, t reflect.Type, prefix string, seen map[reflect.Type]string) error {
	type later struct {
		t    reflect.Type
		name string
	}
	var tables []later
	head := false
	var walk func(t reflect.Type) error
	walk = func(t reflect.Type) error {
		comments, err := s.of(t)
		if err != nil {
			return err
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() {
				continue
			}
			if f.Anonymous && f.Tag.Get("toml") == "" {
				if err := walk(f.Type); err != nil {
					return err
				}
				continue
			}
			key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			if key == "-" {
				continue
			}
			if key == "" {
				key = f.Name
			}
			comment := strings.ReplaceAll(comments[t.Name()+"."+f.Name], "|", `\|`)
			if sub, array := nested(f.Type); sub != nil {
				name := prefix + key
				if array {
					name = prefix + key + "[]"
				}
				if before, ok := seen[sub]; ok {
					comment = strings.TrimSpace("keys as in " + before + ". " + comment)
				} else {
					seen[sub] = "`" + name + "`"
					tables = append(tables, later{sub, name})
				}
			}
			if !head {
				b.WriteString("| key | type | meaning and default |\n|---|---|---|\n")
				head = true
			}
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", prefix+key, typeName(f.Type), comment)
		}
		return nil
	}
	if err := walk(t); err != nil {
		return err
	}
	for _, n := range tables {
		prefix := strings.TrimSuffix(n.name, "[]")
		if prefix == n.name {
			fmt.Fprintf(b, "\n## [%s]\n\n", prefix)
		} else {
			fmt.Fprintf(b, "\n## [[%s]]\n\n", prefix)
		}
		if err := s.table(b, n.t, prefix+".", seen); err != nil {
			return err
		}
	}
	return nil
}

// typeName is a type in TOML's words.
func typeName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return "string"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Struct:
		return "table"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "array of tables"
		}
		return "array of " + typeName(t.Elem())
	case reflect.Array:
		return fmt.Sprintf("%d × %s", t.Len(), typeName(t.Elem()))
	}
	return t.String()
}

// of reads the comments of the package that declares t.
func (s *Source) of(t reflect.Type) (map[string]string, error) {
	path := t.PkgPath()
	if c, ok := s.comments[path]; ok {
		return c, nil
	}
	if s.comments == nil {
		s.comments = map[string]map[string]string{}
	}
	c := map[string]string{}
	s.comments[path] = c
	rest, ok := strings.CutPrefix(path, s.Module)
	if !ok {
		return c, nil // another module's
	}
	files, err := filepath.Glob(filepath.Join(s.Root, filepath.FromSlash(rest), "*.go"))
	if err != nil {
		return nil, fmt.Errorf("tomldoc: %w", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("tomldoc: %w", err)
		}
		collect(f, c)
	}
	return c, nil
}

// collect adds the comments of f's struct fields, by type.field.
func collect(f *ast.File, into map[string]string) {
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		st, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, field := range st.Fields.List {
			text := field.Comment.Text()
			if text == "" {
				text = field.Doc.Text()
			}
			for _, name := range field.Names {
				into[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(text), " ")
			}
		}
		return true
	})
}
