package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"sort"
	"strings"
)

// A woven file holds all of its mutants at once: each place calls a helper that
// changes what it does where the mutant's number is chosen. So a package is
// compiled once, not once a mutant.
//
//	a < b      mutLss[T](7, (a), (b))     7: ≤, 8: >
//	a == b     mutNot(9, (a == b))
//	a + b      mutAdd[T](10, (a), (b))
//	3          mutPick[T](11, 3, 4)
//	if c       if mutNot(12, (c))
//	f()        if mutOn(13) { f() }       also locks, with their unlocks
//	x += y     if mutIs(14) { x -= y } else { x += y }
//
// What has to stay a constant (declarations, lengths of arrays), and the i++ of a
// for statement, is not woven.
type weaver struct {
	src       []byte
	files     *token.FileSet
	types     map[ast.Expr]types.TypeAndValue
	pkg       *types.Package
	imported  map[string]string // by path, the name in the file
	binary    map[int]*ast.BinaryExpr
	literal   map[int]*ast.BasicLit
	statement map[int]ast.Stmt // += and ++ that stand in a list, by the offset of their token
	inserted  []insertion
}

// insertion puts text at an offset in place of cut bytes. Of those at one offset
// what ends there comes first, from the innermost, then what begins, from the outermost.
type insertion struct {
	at, cut int
	ends    bool
	text    string
}

func newWeaver(src []byte, files *token.FileSet, f *ast.File, info *types.Info, pkg *types.Package) *weaver {
	w := &weaver{
		src: src, files: files, types: info.Types, pkg: pkg, imported: map[string]string{},
		binary: map[int]*ast.BinaryExpr{}, literal: map[int]*ast.BasicLit{}, statement: map[int]ast.Stmt{},
	}
	for _, i := range f.Imports {
		path := strings.Trim(i.Path.Value, "\"`")
		for _, p := range pkg.Imports() {
			if p.Path() == path {
				w.imported[path] = p.Name()
			}
		}
		if i.Name != nil {
			w.imported[path] = i.Name.Name
		}
	}
	list := func(all []ast.Stmt) {
		for _, s := range all {
			switch s := s.(type) {
			case *ast.AssignStmt:
				w.statement[w.offset(s.TokPos)] = s
			case *ast.IncDecStmt:
				w.statement[w.offset(s.TokPos)] = s
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return n.Tok == token.VAR
		case *ast.ArrayType, *ast.Field:
			return false
		case *ast.BinaryExpr:
			w.binary[w.offset(n.OpPos)] = n
		case *ast.BasicLit:
			w.literal[w.offset(n.Pos())] = n
		case *ast.BlockStmt:
			list(n.List)
		case *ast.CaseClause:
			list(n.Body)
		case *ast.CommClause:
			list(n.Body)
		}
		return true
	})
	return w
}

func (w *weaver) offset(p token.Pos) int { return w.files.Position(p).Offset }

func (w *weaver) wrap(from, to int, before, after string) {
	w.inserted = append(w.inserted, insertion{at: from, text: before}, insertion{at: to, ends: true, text: after})
}

// typeOf is the type of the first of es that has one of its own, as the file
// writes it; "" where it cannot.
func (w *weaver) typeOf(es ...ast.Expr) string {
	var t types.Type
	for _, e := range es {
		if t = w.types[e].Type; t == nil {
			return ""
		}
		if b, ok := t.(*types.Basic); !ok || b.Info()&types.IsUntyped == 0 {
			break
		}
		t = types.Default(t)
	}
	foreign := false
	s := types.TypeString(t, func(p *types.Package) string {
		if p == w.pkg {
			return ""
		}
		name, ok := w.imported[p.Path()]
		foreign = foreign || !ok
		return name
	})
	if foreign || strings.HasPrefix(s, "untyped") {
		return ""
	}
	return s
}

// mutant weaves a mutant in under a number; false where it cannot be.
func (w *weaver) mutant(m mutant, id int) bool {
	at := m.edits[0].from
	switch m.Operator {
	case "statement", "lock":
		if strings.HasPrefix(m.Change, "drop panic(") {
			return false // a function may end with it
		}
		for _, e := range m.edits {
			w.wrap(e.from, e.to, fmt.Sprintf("if mutOn(%d) { ", id), " }")
		}
		return true
	case "condition":
		w.wrap(at, m.edits[1].from, fmt.Sprintf("mutNot(%d, (", id), "))")
		return true
	case "constant":
		n := w.literal[at]
		if n == nil || w.typeOf(n) == "" {
			return false
		}
		w.wrap(at, m.edits[0].to, fmt.Sprintf("mutPick[%s](%d, ", w.typeOf(n), id), ", "+m.edits[0].text+")")
		return true
	}
	if s := w.statement[at]; s != nil {
		changed := string(w.src[w.offset(s.Pos()):at]) + m.edits[0].text + string(w.src[m.edits[0].to:w.offset(s.End())])
		if strings.Contains(changed, "\n") {
			return false // lines stay lines
		}
		w.wrap(w.offset(s.Pos()), w.offset(s.End()), fmt.Sprintf("if mutIs(%d) { %s } else { ", id, changed), " }")
		return true
	}
	n := w.binary[at]
	if n == nil {
		return false
	}
	helper := map[token.Token]string{token.LSS: "mutLss", token.LEQ: "mutLeq", token.GTR: "mutGtr", token.GEQ: "mutGeq", token.ADD: "mutAdd", token.SUB: "mutSub"}[n.Op]
	if helper == "" { // == and !=
		w.wrap(w.offset(n.Pos()), w.offset(n.End()), fmt.Sprintf("mutNot(%d, (", id), "))")
		return true
	}
	of := []ast.Expr{n.X, n.Y}
	if m.Operator == "sign" {
		of = []ast.Expr{n}
	}
	t := w.typeOf(of...)
	if t == "" {
		return false
	}
	w.wrap(w.offset(n.Pos()), w.offset(n.End()), fmt.Sprintf("%s[%s](%d, (", helper, t, id), "))")
	w.inserted = append(w.inserted, insertion{at: at, cut: len(n.Op.String()), text: "), ("})
	return true
}

// source is the file with all that was woven in.
func (w *weaver) source() []byte {
	order := make([]int, len(w.inserted))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool {
		x, y := w.inserted[order[a]], w.inserted[order[b]]
		switch {
		case x.at != y.at:
			return x.at < y.at
		case x.ends != y.ends:
			return x.ends
		}
		return (order[a] < order[b]) != x.ends
	})
	var out bytes.Buffer
	at := 0
	for _, i := range order {
		n := w.inserted[i]
		out.Write(w.src[at:n.at])
		out.WriteString(n.text)
		at = n.at + n.cut
	}
	out.Write(w.src[at:])
	return out.Bytes()
}

// second says whether all[i] is the other change of the comparison before it,
// which is woven in together with the first.
func second(all []mutant, i int) bool {
	return i > 0 && all[i].Operator == "comparison" && all[i-1].Operator == "comparison" && all[i].path == all[i-1].path && all[i].edits[0].from == all[i-1].edits[0].from
}

// helpers is the file of a woven package that chooses its mutant by MUTANT and,
// where it explores, marks in the file MUTANT_REACHED which ones were met.
func helpers(pkg string, explore bool) []byte {
	mark, next := "", ""
	if explore {
		mark, next = "if mutMet != nil { mutMet[i] = 1 }; ", "if mutMet != nil { mutMet[i+1] = 1 }; "
	}
	var b strings.Builder
	fmt.Fprintf(&b, `package %s

import (
	mutOS "os"
	mutStrconv "strconv"
	mutSyscall "syscall"
)

var mutID, mutMet = mutInit()

func mutInit() (int, []byte) {
	id := -1
	if s := mutOS.Getenv("MUTANT"); s != "" {
		id, _ = mutStrconv.Atoi(s)
	}
	path := mutOS.Getenv("MUTANT_REACHED")
	if path == "" {
		return id, nil
	}
	f, err := mutOS.OpenFile(path, mutOS.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	st, err := f.Stat()
	if err != nil {
		panic(err)
	}
	met, err := mutSyscall.Mmap(int(f.Fd()), 0, int(st.Size()), mutSyscall.PROT_READ|mutSyscall.PROT_WRITE, mutSyscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return id, met
}

type mutNumber interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

type mutOrdered interface{ mutNumber | ~string }

func mutIs(i int) bool { %[2]sreturn mutID == i }
func mutOn(i int) bool { %[2]sreturn mutID != i }
func mutNot[T ~bool](i int, c T) T { %[2]sif mutID == i { return !c }; return c }
func mutPick[T any](i int, a, b T) T { %[2]sif mutID == i { return b }; return a }
func mutAdd[T mutNumber](i int, a, b T) T { %[2]sif mutID == i { return a - b }; return a + b }
func mutSub[T mutNumber](i int, a, b T) T { %[2]sif mutID == i { return a + b }; return a - b }
`, pkg, mark)
	for _, c := range [][4]string{{"Lss", "<", "<=", ">"}, {"Leq", "<=", "<", ">="}, {"Gtr", ">", ">=", "<"}, {"Geq", ">=", ">", "<="}} {
		fmt.Fprintf(&b, "func mut%s[T mutOrdered](i int, a, b T) bool { %s%sswitch mutID { case i: return a %s b; case i + 1: return a %s b }; return a %s b }\n", c[0], mark, next, c[2], c[3], c[1])
	}
	return []byte(b.String())
}
