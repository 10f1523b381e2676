package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// toMove are leaks whose packages are on their way out of internal.
var toMove []string

// TestPublicIsUsable checks that no exported declaration of a public package
// names a type of an internal one: an importer of this module could not spell it.
func TestPublicIsUsable(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Name,GoFiles", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Dir, Name string
			GoFiles               []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Name == "main" || isInternal(p.ImportPath) {
			continue
		}
		for _, f := range p.GoFiles {
			for _, leak := range leaks(t, filepath.Join(p.Dir, f), nil) {
				if slices.Contains(toMove, leak) {
					continue
				}
				t.Errorf("%s: %s", strings.TrimPrefix(p.ImportPath, module), leak)
			}
		}
	}
}

// TestLeaks shows that each kind of leak is found, and what is none is not.
func TestLeaks(t *testing.T) {
	const head = "package p\nimport (\n\"github.com/planegym/planegym/internal/nn\"\nother \"github.com/planegym/planegym/internal/rng\"\n\"time\"\n)\n"
	for _, c := range []struct {
		text string
		want int
	}{
		{"func F(b *nn.Backend) {}", 1},
		{"func F() (x []other.Key, err error) { return }", 1},
		{"func f(b *nn.Backend) {}", 0},
		{"func F(d time.Duration) { var k other.Key; _ = k }", 0},
		{"type T struct { A int; B map[string]nn.View }", 1},
		{"type T struct { a nn.View; other.Key }", 1},
		{"type T = nn.View", 1},
		{"type t struct { A nn.View }", 0},
		{"type T struct{}\nfunc (T) M(nn.View) {}\nfunc (t) M(nn.View) {}\nfunc (T) m(nn.View) {}\ntype t int", 1},
		{"type I interface { M(nn.View) }", 1},
		{"type T struct { a, b nn.View }", 0},
		{"type F func(b nn.View)", 1},
		{"var V nn.View", 1},
		{"var v nn.View", 0},
		{"type T[P nn.View] struct{}", 1},
	} {
		if got := leaks(t, "p.go", head+c.text); len(got) != c.want {
			t.Errorf("%s: %v, want %d", c.text, got, c.want)
		}
	}
}

func isInternal(path string) bool {
	return strings.Contains(path+"/", "/internal/")
}

// leaks lists the exported declarations of a file that name a type of an
// internal package. src is as in parser.ParseFile.
func leaks(t *testing.T, file string, src any) []string {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, i := range f.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		if !isInternal(path) || !strings.HasPrefix(path, module) {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		names[name] = true
	}
	var found []string
	var look func(what string, n ast.Node)
	members := func(what string, fields *ast.FieldList) {
		for _, m := range fields.List {
			if len(m.Names) == 0 || slices.ContainsFunc(m.Names, (*ast.Ident).IsExported) {
				look(what, m.Type)
			}
		}
	}
	look = func(what string, n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.StructType:
				members(what, n.Fields)
				return false
			case *ast.InterfaceType:
				members(what, n.Methods)
				return false
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && names[x.Name] {
					found = append(found, fmt.Sprintf("%s names %s.%s", what, x.Name, n.Sel.Name))
				}
			}
			return true
		})
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
				look(d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						if s.TypeParams != nil {
							look(s.Name.Name, s.TypeParams)
						}
						look(s.Name.Name, s.Type)
					}
				case *ast.ValueSpec:
					if s.Type != nil && s.Names[0].IsExported() {
						look(s.Names[0].Name, s.Type)
					}
				}
			}
		}
	}
	return found
}

// receiver is the name of a method's type.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}
