package ptxvm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// operandKind says what an operand is.
type operandKind uint8

const (
	symbol    operandKind = iota // a register, variable or label
	immediate                    // bits, with the width of float constants
	address                      // [name+off] or [off]
	vector                       // {a, b}
	pair                         // a|b
)

type operand struct {
	kind operandKind
	name string
	neg  bool // !name
	bits uint64
	f    int // 32 or 64 where bits are a float's
	off  int64
	list []operand
}

// stmt is one instruction as written.
type stmt struct {
	line   int
	guard  string // register of "@%p"
	negate bool   // "@!%p"
	op     string
	args   []operand
}

// text is the instruction as an error quotes it.
func (s *stmt) text() string {
	var b strings.Builder
	if s.guard != "" {
		b.WriteByte('@')
		if s.negate {
			b.WriteByte('!')
		}
		b.WriteString(s.guard + " ")
	}
	b.WriteString(s.op)
	for i, a := range s.args {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + a.String())
	}
	return b.String()
}

func (o operand) String() string {
	switch o.kind {
	case immediate:
		switch o.f {
		case 32:
			return fmt.Sprintf("0f%08X", o.bits)
		case 64:
			return fmt.Sprintf("0d%016X", o.bits)
		}
		return strconv.FormatInt(int64(o.bits), 10)
	case address:
		if o.off == 0 {
			return "[" + o.name + "]"
		}
		return fmt.Sprintf("[%s%+d]", o.name, o.off)
	case vector:
		s := make([]string, len(o.list))
		for i, e := range o.list {
			s[i] = e.String()
		}
		return "{" + strings.Join(s, ", ") + "}"
	case pair:
		return o.list[0].String() + "|" + o.list[1].String()
	}
	if o.neg {
		return "!" + o.name
	}
	return o.name
}

// variable is memory with a name.
type variable struct {
	name  string
	space string // ".shared", ".global", ".const", ".local"
	align int
	size  int // bytes; 0: as much as the launch gives (extern shared)
	init  []byte
	line  int
}

// source is a kernel as written.
type source struct {
	name       string
	line       int
	params     []variable // space ".param"
	maxThreads [3]int     // .maxntid or .reqntid; 0: not stated
	exact      bool       // .reqntid
	regs       map[string]byte
	vars       []variable
	labels     map[string]int // to an index into code
	code       []stmt
}

type parser struct {
	toks    []token
	i       int
	kernel  string
	globals []variable
	sources []*source
	rename  []map[string]string // registers declared in { } blocks
	blocks  int
}

func (p *parser) fail(line int, format string, args ...any) error {
	return &SyntaxError{Line: line, Kernel: p.kernel, Msg: fmt.Sprintf(format, args...)}
}

func (p *parser) peek() string {
	if p.i < len(p.toks) {
		return p.toks[p.i].text
	}
	return ""
}

func (p *parser) line() int {
	if p.i < len(p.toks) {
		return p.toks[p.i].line
	}
	if len(p.toks) == 0 {
		return 1
	}
	return p.toks[len(p.toks)-1].line
}

func (p *parser) next() token {
	t := token{"", p.line()}
	if p.i < len(p.toks) {
		t = p.toks[p.i]
		p.i++
	}
	return t
}

func (p *parser) accept(text string) bool {
	if p.peek() == text && p.i < len(p.toks) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if t := p.next(); t.text != text {
		return p.fail(t.line, "%q where %q was expected", t.text, text)
	}
	return nil
}

// parse reads a module.
func parse(src string) (*parser, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	versions := 0
	for p.i < len(p.toks) {
		t := p.next()
		switch t.text {
		case ".version":
			versions++
			p.next()
		case ".target":
			for p.next(); p.accept(","); {
				p.next()
			}
		case ".address_size":
			if n := p.next(); n.text != "64" {
				return nil, p.fail(n.line, "address size %q, want 64", n.text)
			}
		case ".file":
			for l := t.line; p.i < len(p.toks) && p.line() == l; {
				p.next()
			}
		case ".section":
			if err := p.skipBlock(); err != nil {
				return nil, err
			}
		case ".visible", ".extern", ".weak", ".common":
		case ".entry":
			if err := p.entry(); err != nil {
				return nil, err
			}
		case ".func":
			return nil, p.fail(t.line, "functions are not supported: make it inline")
		case ".shared", ".global", ".const":
			v, err := p.variable(t.text)
			if err != nil {
				return nil, err
			}
			p.globals = append(p.globals, v)
		default:
			return nil, p.fail(t.line, "%q where a directive was expected", t.text)
		}
	}
	if versions != 1 {
		return nil, &SyntaxError{Line: 1, Msg: "no .version: this is no PTX"}
	}
	return p, nil
}

// skipBlock skips to the end of the next { }.
func (p *parser) skipBlock() error {
	line, depth := p.line(), 0
	for p.i < len(p.toks) {
		switch p.next().text {
		case "{":
			depth++
		case "}":
			if depth--; depth == 0 {
				return nil
			}
		}
	}
	return p.fail(line, "block has no end")
}

var typeSizes = map[string]int{
	".b8": 1, ".u8": 1, ".s8": 1, ".b16": 2, ".u16": 2, ".s16": 2, ".b32": 4, ".u32": 4, ".s32": 4, ".f32": 4,
	".b64": 8, ".u64": 8, ".s64": 8, ".f64": 8,
}

// maxObject bounds what one declaration may ask for, bytes.
const maxObject = 1 << 26

// declaration reads ".align 8 .b8 name[96]" without what follows.
func (p *parser) declaration(space string) (variable, error) {
	v := variable{space: space, line: p.line()}
	elem := 0
	for {
		t := p.next()
		switch {
		case t.text == ".align":
			n := p.next()
			a, err := strconv.Atoi(n.text)
			if err != nil || a < 1 || a > 256 || a&(a-1) != 0 {
				return v, p.fail(n.line, "alignment %q", n.text)
			}
			v.align = a
			continue
		case t.text == ".ptr" || t.text == ".volatile":
			continue
		case t.text == ".global" || t.text == ".shared" || t.text == ".const" || t.text == ".local": // of .ptr
			continue
		case typeSizes[t.text] > 0:
			elem = typeSizes[t.text]
			continue
		case strings.HasPrefix(t.text, "."):
			return v, p.fail(t.line, "%q in a declaration", t.text)
		}
		if elem == 0 || t.text == "" || !isName(t.text) {
			return v, p.fail(t.line, "%q where a type and a name were expected", t.text)
		}
		v.name, v.size = t.text, elem
		v.align = max(v.align, elem)
		break
	}
	for p.accept("[") {
		if p.accept("]") {
			v.size = 0
			continue
		}
		n := p.next()
		k, err := strconv.Atoi(n.text)
		if err != nil || k < 0 || k > maxObject || v.size*k > maxObject {
			return v, p.fail(n.line, "array length %q", n.text)
		}
		v.size *= k
		if err := p.expect("]"); err != nil {
			return v, err
		}
	}
	if p.accept("=") {
		if err := p.initialiser(&v, elem); err != nil {
			return v, err
		}
	}
	return v, nil
}

func isName(s string) bool {
	c := s[0]
	return c == '_' || c == '$' || c == '%' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// initialiser reads "= 5" or "= {1, 2}", little endian; the rest is 0.
func (p *parser) initialiser(v *variable, elem int) error {
	v.init = make([]byte, 0, v.size)
	depth := 0
	for {
		if p.accept("{") {
			depth++
			continue
		}
		if p.accept("}") {
			if depth--; depth <= 0 {
				break
			}
			continue
		}
		if p.accept(",") {
			continue
		}
		line := p.line()
		o, err := p.operand()
		if err != nil {
			return err
		}
		if o.kind != immediate {
			return p.fail(line, "%s is initialised with %s, want numbers", v.name, o)
		}
		for b := range elem {
			v.init = append(v.init, byte(o.bits>>(8*b)))
		}
		if len(v.init) > v.size {
			return p.fail(line, "%s has more initial values than its %d bytes", v.name, v.size)
		}
		if depth == 0 {
			break
		}
	}
	v.init = append(v.init, make([]byte, v.size-len(v.init))...)
	return nil
}

func (p *parser) variable(space string) (variable, error) {
	v, err := p.declaration(space)
	if err != nil {
		return v, err
	}
	return v, p.expect(";")
}

// entry reads a kernel from its name on.
func (p *parser) entry() error {
	t := p.next()
	if t.text == "" || !isName(t.text) {
		return p.fail(t.line, "%q where a kernel's name was expected", t.text)
	}
	for _, k := range p.sources {
		if k.name == t.text {
			return p.fail(t.line, "kernel %s is there twice", t.text)
		}
	}
	s := &source{name: t.text, line: t.line, regs: map[string]byte{}, labels: map[string]int{}}
	p.kernel = s.name
	p.rename, p.blocks = nil, 0
	if p.accept("(") {
		for !p.accept(")") {
			if err := p.expect(".param"); err != nil {
				return err
			}
			v, err := p.declaration(".param")
			if err != nil {
				return err
			}
			s.params = append(s.params, v)
			if !p.accept(",") && p.peek() != ")" {
				return p.fail(p.line(), "%q in the parameters", p.peek())
			}
		}
	}
	for p.peek() != "{" {
		t := p.next()
		switch t.text {
		case ".maxntid", ".reqntid":
			s.maxThreads = [3]int{1, 1, 1}
			s.exact = t.text == ".reqntid"
			for i := 0; i == 0 || p.accept(","); i++ {
				n := p.next()
				v, err := strconv.Atoi(n.text)
				if err != nil || v < 1 || i > 2 {
					return p.fail(n.line, "%s: %q", t.text, n.text)
				}
				s.maxThreads[i] = v
			}
		case ".minnctapersm", ".maxnreg", ".maxnctapersm":
			p.next()
		case ";":
			return p.fail(t.line, "kernel without a body")
		default:
			return p.fail(t.line, "%q before the body", t.text)
		}
	}
	if err := p.body(s); err != nil {
		return err
	}
	for i := range s.code {
		for _, a := range s.code[i].args {
			if strings.HasPrefix(s.code[i].op, "bra") {
				if _, ok := s.labels[a.name]; !ok {
					return p.fail(s.code[i].line, "no label %q", a.name)
				}
			}
		}
	}
	p.sources = append(p.sources, s)
	p.kernel = ""
	return nil
}

func (p *parser) body(s *source) error {
	if err := p.expect("{"); err != nil {
		return err
	}
	p.rename = []map[string]string{nil}
	for len(p.rename) > 0 {
		t := p.next()
		switch {
		case t.text == "":
			return p.fail(t.line, "kernel has no end")
		case t.text == "{": // inline assembly
			p.rename = append(p.rename, map[string]string{})
			p.blocks++
		case t.text == "}":
			p.rename = p.rename[:len(p.rename)-1]
		case t.text == ";":
		case t.text == ".reg":
			if err := p.registers(s); err != nil {
				return err
			}
		case t.text == ".shared" || t.text == ".local":
			v, err := p.variable(t.text)
			if err != nil {
				return err
			}
			s.vars = append(s.vars, v)
		case t.text == ".pragma":
			for p.i < len(p.toks) && !p.accept(";") {
				p.i++
			}
		case t.text == ".loc":
			for l := t.line; p.i < len(p.toks) && p.line() == l; {
				p.next()
			}
		case p.peek() == ":" && isName(t.text):
			p.next()
			if _, twice := s.labels[t.text]; twice {
				return p.fail(t.line, "label %s is there twice", t.text)
			}
			s.labels[t.text] = len(s.code)
		default:
			p.i--
			if err := p.instruction(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// registers reads ".b32 %r<10>, %x;". Names in inline assembly's own block
// get a suffix that keeps them apart from others.
func (p *parser) registers(s *source) error {
	t := p.next()
	class := byte('p')
	if t.text != ".pred" {
		switch typeSizes[t.text] {
		case 2, 1:
			class = 'h'
		case 4:
			class = 'w'
		case 8:
			class = 'd'
		default:
			return p.fail(t.line, "registers of type %q", t.text)
		}
	}
	for {
		n := p.next()
		if n.text == "" || !isName(n.text) {
			return p.fail(n.line, "%q where a register's name was expected", n.text)
		}
		names := []string{n.text}
		if p.accept("<") {
			k := p.next()
			count, err := strconv.Atoi(k.text)
			if err != nil || count < 0 || len(s.regs)+count > 1<<16 {
				return p.fail(k.line, "%q registers", k.text)
			}
			if err := p.expect(">"); err != nil {
				return err
			}
			names = names[:0]
			for i := range count {
				names = append(names, n.text+strconv.Itoa(i))
			}
		}
		for _, name := range names {
			if inner := p.rename[len(p.rename)-1]; inner != nil {
				inner[name] = fmt.Sprintf("%s{%d}", name, p.blocks)
				name = inner[name]
			}
			if _, twice := s.regs[name]; twice {
				return p.fail(n.line, "register %s is there twice", name)
			}
			s.regs[name] = class
		}
		if p.accept(";") {
			return nil
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
}

func (p *parser) instruction(s *source) error {
	st := stmt{line: p.line()}
	if p.accept("@") {
		st.negate = p.accept("!")
		st.guard = p.resolve(p.next().text)
	}
	t := p.next()
	if t.text == "" || !(t.text[0] >= 'a' && t.text[0] <= 'z') {
		return p.fail(t.line, "%q where an instruction was expected", t.text)
	}
	st.op = t.text
	for !p.accept(";") {
		o, err := p.operand()
		if err != nil {
			return err
		}
		if p.accept("|") {
			second, err := p.operand()
			if err != nil {
				return err
			}
			o = operand{kind: pair, list: []operand{o, second}}
		}
		st.args = append(st.args, o)
		if !p.accept(",") && p.peek() != ";" {
			return p.fail(p.line(), "%q after an operand of %s", p.peek(), st.op)
		}
	}
	s.code = append(s.code, st)
	return nil
}

// resolve returns the register that a name denotes here.
func (p *parser) resolve(name string) string {
	for i := len(p.rename) - 1; i > 0; i-- {
		if r, ok := p.rename[i][name]; ok {
			return r
		}
	}
	return name
}

func (p *parser) operand() (operand, error) {
	t := p.next()
	switch {
	case t.text == "":
		return operand{}, p.fail(t.line, "an operand is missing")
	case t.text == "!":
		n := p.next()
		return operand{kind: symbol, name: p.resolve(n.text), neg: true}, nil
	case t.text == "-":
		o, err := p.operand()
		if err == nil && (o.kind != immediate || o.f != 0) {
			err = p.fail(t.line, "minus before %s", o)
		}
		o.bits = -o.bits
		return o, err
	case t.text == "{":
		v := operand{kind: vector}
		for !p.accept("}") {
			o, err := p.operand()
			if err != nil {
				return o, err
			}
			v.list = append(v.list, o)
			if !p.accept(",") && p.peek() != "}" {
				return o, p.fail(p.line(), "%q in a vector", p.peek())
			}
		}
		return v, nil
	case t.text == "[":
		a := operand{kind: address}
		o, err := p.operand()
		if err != nil {
			return a, err
		}
		switch o.kind {
		case symbol:
			a.name = o.name
		case immediate:
			a.off = int64(o.bits)
		default:
			return a, p.fail(t.line, "%s as an address", o)
		}
		if p.peek() == "+" || p.peek() == "-" {
			minus := p.next().text == "-"
			o, err := p.operand()
			if err != nil {
				return a, err
			}
			if o.kind != immediate {
				return a, p.fail(t.line, "%s as an offset", o)
			}
			if minus {
				o.bits = -o.bits
			}
			a.off += int64(o.bits)
		}
		return a, p.expect("]")
	case t.text[0] >= '0' && t.text[0] <= '9':
		o, err := number(t.text)
		if err != nil {
			return o, p.fail(t.line, "number %q", t.text)
		}
		return o, nil
	case isName(t.text):
		return operand{kind: symbol, name: p.resolve(t.text)}, nil
	}
	return operand{}, p.fail(t.line, "%q where an operand was expected", t.text)
}

func number(s string) (operand, error) {
	o := operand{kind: immediate}
	var err error
	switch {
	case len(s) == 10 && (strings.HasPrefix(s, "0f") || strings.HasPrefix(s, "0F")):
		o.f = 32
		o.bits, err = strconv.ParseUint(s[2:], 16, 32)
	case len(s) == 18 && (strings.HasPrefix(s, "0d") || strings.HasPrefix(s, "0D")):
		o.f = 64
		o.bits, err = strconv.ParseUint(s[2:], 16, 64)
	case strings.Contains(s, "."):
		var v float64
		v, err = strconv.ParseFloat(s, 64)
		o.f, o.bits = 64, math.Float64bits(v)
	default:
		o.bits, err = strconv.ParseUint(strings.TrimSuffix(s, "U"), 0, 64)
	}
	return o, err
}
