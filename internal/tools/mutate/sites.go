package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// edit replaces the bytes from…to of a file.
type edit struct {
	from, to int
	text     string
}

// mutant is one small change of one file.
type mutant struct {
	File     string `json:"file"` // from the root of the module
	Line     int    `json:"line"`
	Operator string `json:"operator"`
	Change   string `json:"change"` // old → new
	Outcome  string `json:"outcome,omitempty"`

	id    int // in order of files and places
	path  string
	edits []edit
	race  bool // only the race detector can see it
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d\t%s\t%s", m.File, m.Line, m.Operator, m.Change)
}

// apply gives src with the change.
func (m mutant) apply(src []byte) []byte {
	out, at := []byte(nil), 0
	for _, e := range m.edits {
		out = append(append(out, src[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, src[at:]...)
}

// comparisons are what a comparison is changed to: the boundary, and the other
// way round.
var comparisons = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GTR}, token.LEQ: {token.LSS, token.GEQ},
	token.GTR: {token.GEQ, token.LSS}, token.GEQ: {token.GTR, token.LEQ},
}

var signs = map[token.Token]token.Token{
	token.ADD: token.SUB, token.SUB: token.ADD, token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN, token.INC: token.DEC, token.DEC: token.INC,
}

// sites lists every change of a file that the operators know.
func sites(root, path string) ([]mutant, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, src, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(f) {
		return nil, nil
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	c := collector{src: src, path: path, name: name, files: files}
	ast.Inspect(f, c.visit)
	return c.found, nil
}

type collector struct {
	src        []byte
	path, name string
	files      *token.FileSet
	found      []mutant
}

func (c *collector) offset(p token.Pos) int { return c.files.Position(p).Offset }

func (c *collector) text(n ast.Node) string {
	return string(c.src[c.offset(n.Pos()):c.offset(n.End())])
}

func (c *collector) add(operator string, at token.Pos, change string, edits ...edit) {
	c.found = append(c.found, mutant{
		File: filepath.ToSlash(c.name), Line: c.files.Position(at).Line, Operator: operator, Change: change, path: c.path, edits: edits,
	})
}

// swap replaces a token by another.
func (c *collector) swap(operator string, at token.Pos, whole ast.Node, old, new string) {
	from := c.offset(at)
	c.add(operator, at, fmt.Sprintf("%s: %s → %s", line(c.text(whole)), old, new), edit{from, from + len(old), new})
}

func (c *collector) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		return false
	case *ast.BinaryExpr:
		for _, other := range comparisons[n.Op] {
			c.swap("comparison", n.OpPos, n, n.Op.String(), other.String())
		}
		if other, ok := signs[n.Op]; ok {
			c.swap("sign", n.OpPos, n, n.Op.String(), other.String())
		}
	case *ast.BasicLit:
		c.constant(n)
	case *ast.IfStmt:
		c.negate(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			c.negate(n.Cond)
		}
	case *ast.CaseClause:
		c.list(n.Body)
	case *ast.CommClause:
		c.list(n.Body)
	case *ast.BlockStmt:
		c.list(n.List)
	case *ast.IncDecStmt:
		c.swap("sign", n.TokPos, n, n.Tok.String(), signs[n.Tok].String())
	case *ast.AssignStmt:
		if other, ok := signs[n.Tok]; ok {
			c.swap("sign", n.TokPos, n, n.Tok.String(), other.String())
		}
	}
	return true
}

// constant changes a number by one.
func (c *collector) constant(n *ast.BasicLit) {
	var text string
	switch n.Kind {
	case token.INT:
		x, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64)
		if err != nil {
			return
		}
		text = strconv.FormatInt(x+1, 10)
	case token.FLOAT:
		x, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64)
		if err != nil || x+1 == x {
			return
		}
		text = strconv.FormatFloat(x+1, 'g', -1, 64)
	default:
		return
	}
	from := c.offset(n.Pos())
	c.add("constant", n.Pos(), fmt.Sprintf("%s: %s → %s", line(c.lineOf(from)), n.Value, text), edit{from, from + len(n.Value), text})
}

func (c *collector) lineOf(at int) string {
	from, to := at, at
	for from > 0 && c.src[from-1] != '\n' {
		from--
	}
	for to < len(c.src) && c.src[to] != '\n' {
		to++
	}
	return strings.TrimSpace(string(c.src[from:to]))
}

func (c *collector) negate(cond ast.Expr) {
	from, to := c.offset(cond.Pos()), c.offset(cond.End())
	c.add("condition", cond.Pos(), "!("+line(c.text(cond))+")", edit{from, from, "!("}, edit{to, to, ")"})
}

// list drops each statement of a list, and each lock with its unlocks.
func (c *collector) list(list []ast.Stmt) {
	for i, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			if of, method := c.call(s.X); method == "Lock" || method == "RLock" {
				c.unlock(s, of, strings.Replace(method, "Lock", "Unlock", 1), list[i+1:])
				continue
			} else if method == "Unlock" || method == "RUnlock" {
				continue // that of a lock
			}
		case *ast.DeferStmt:
			if _, method := c.call(s.Call); method == "Unlock" || method == "RUnlock" {
				continue
			}
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				continue // what it declares is used
			}
		case *ast.IncDecStmt, *ast.SendStmt, *ast.GoStmt:
		default:
			continue
		}
		c.add("statement", s.Pos(), "drop "+line(c.text(s)), edit{c.offset(s.Pos()), c.offset(s.End()), ""})
	}
}

// call is the receiver and the method of x.Method().
func (c *collector) call(e ast.Expr) (of, method string) {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) > 0 {
		return "", ""
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	return c.text(sel.X), sel.Sel.Name
}

// unlock drops a lock with every unlock of the same in what follows it.
func (c *collector) unlock(lock *ast.ExprStmt, of, method string, rest []ast.Stmt) {
	edits := []edit{{c.offset(lock.Pos()), c.offset(lock.End()), ""}}
	for _, s := range rest {
		ast.Inspect(s, func(n ast.Node) bool {
			var call ast.Expr
			switch n := n.(type) {
			case *ast.FuncLit:
				return false
			case *ast.ExprStmt:
				call = n.X
			case *ast.DeferStmt:
				call = n.Call
			default:
				return true
			}
			if x, m := c.call(call); x == of && m == method {
				edits = append(edits, edit{c.offset(n.Pos()), c.offset(n.End()), ""})
			}
			return true
		})
	}
	slices.SortFunc(edits, func(a, b edit) int { return a.from - b.from })
	c.add("lock", lock.Pos(), "skip "+c.text(lock), edits...)
	c.found[len(c.found)-1].race = true
}

// line is text on one line, cut.
func line(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 80 {
		text = string(r[:79]) + "…"
	}
	return text
}
