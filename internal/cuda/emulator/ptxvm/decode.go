package ptxvm

import (
	"fmt"
	"slices"
	"strings"
)

// Parse reads PTX as clang and nvcc write it for sm_70 and later. What no
// instruction here does is an error that names the line.
func Parse(ptx []byte) (*Module, error) {
	p, err := parse(strings.TrimRight(string(ptx), "\x00"))
	if err != nil {
		return nil, err
	}
	m := &Module{}
	var sharedVars []variable
	for _, v := range p.globals {
		if v.space == ".shared" {
			sharedVars = append(sharedVars, v)
			continue
		}
		m.vars = append(m.vars, v)
	}
	for _, s := range p.sources {
		k, err := decode(m, s, sharedVars)
		if err != nil {
			return nil, err
		}
		m.Kernels = append(m.Kernels, k)
	}
	return m, nil
}

// decoder makes a Kernel of its source.
type decoder struct {
	k       *Kernel
	src     *source
	regs    map[string]reg
	consts  map[constant]reg
	symbols map[string]symbolValue
}

type symbolValue struct {
	value  uint64
	global int
}

func decode(m *Module, s *source, sharedVars []variable) (*Kernel, error) {
	k := &Kernel{Name: s.name, module: m, MaxThreads: s.maxThreads, exact: s.exact, source: s.code}
	d := &decoder{k: k, src: s, regs: map[string]reg{}, consts: map[constant]reg{}, symbols: map[string]symbolValue{}}
	fail := func(line int, format string, args ...any) error {
		return &SyntaxError{Line: line, Kernel: s.name, Msg: fmt.Sprintf(format, args...)}
	}
	declare := func(v variable, at uint64, global int) error {
		if _, twice := d.symbols[v.name]; twice {
			return fail(v.line, "%s is declared twice", v.name)
		}
		d.symbols[v.name] = symbolValue{at, global}
		return nil
	}
	for i, v := range m.vars {
		if err := declare(v, 0, i+1); err != nil {
			return nil, err
		}
	}
	for _, v := range s.params {
		k.ParamSize = align(k.ParamSize, v.align)
		if err := declare(v, uint64(k.ParamSize), 0); err != nil {
			return nil, err
		}
		k.ParamSize += v.size
	}
	if k.ParamSize > 4352 {
		return nil, fail(s.line, "%d bytes of parameters, at most 4352", k.ParamSize)
	}
	used := map[string]bool{}
	for i := range s.code {
		for _, a := range s.code[i].args {
			used[a.name] = true
		}
	}
	var dynamic []variable
	for _, v := range slices.Concat(sharedVars, s.vars) {
		if v.space == ".local" {
			k.Local = align(k.Local, v.align)
			if err := declare(v, uint64(k.Local), 0); err != nil {
				return nil, err
			}
			if k.Local += v.size; k.Local > 512<<10 {
				return nil, fail(v.line, "%d bytes of local memory, at most 512 KiB", k.Local)
			}
			continue
		}
		if !used[v.name] {
			continue
		}
		if v.size == 0 {
			dynamic = append(dynamic, v)
			continue
		}
		k.Shared = align(k.Shared, v.align)
		at := align(k.arena, max(v.align, 4))
		if err := declare(v, uint64(at), 0); err != nil {
			return nil, err
		}
		// What runs over one variable must not hit the next.
		k.arena = at + v.size + sharedGap
		k.gaps = append(k.gaps, span{at + v.size, k.arena})
		if k.Shared += v.size; k.Shared > 227<<10 {
			return nil, fail(v.line, "%d bytes of shared memory, at most 227 KiB", k.Shared)
		}
	}
	for _, v := range dynamic {
		k.dynamic = true
		k.Shared = align(k.Shared, v.align)
		k.arena = align(k.arena, max(v.align, 16))
	}
	for _, v := range dynamic {
		if err := declare(v, uint64(k.arena), 0); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, len(s.regs))
	for n := range s.regs {
		names = append(names, n)
	}
	slices.Sort(names)
	inUse := map[string]bool{}
	for i := range s.code {
		inUse[s.code[i].guard] = true
		for _, a := range s.code[i].args {
			inUse[a.name] = true
			for _, e := range a.list {
				inUse[e.name] = true
			}
		}
	}
	for _, n := range names {
		if inUse[n] {
			d.regs[n] = d.row(s.regs[n])
		}
	}
	k.code = make([]instr, len(s.code), len(s.code)+1)
	for i := range s.code {
		if err := d.instruction(&k.code[i], &s.code[i]); err != nil {
			return nil, fail(s.code[i].line, "%s: %v", s.code[i].text(), err)
		}
	}
	k.code = append(k.code, instr{op: opExit, guard: -1}) // the end of the body
	k.source = append(k.source, stmt{line: s.line, op: "end"})
	return k, nil
}

const sharedGap = 64

func align(n, a int) int { return (n + a - 1) &^ (a - 1) }

// row makes a register.
func (d *decoder) row(class byte) reg {
	n := &d.k.rows32
	switch class {
	case 'p':
		n = &d.k.preds
	case 'd':
		n = &d.k.rows64
	}
	*n++
	return reg{class, int32(*n - 1)}
}

func (d *decoder) constant(class byte, value uint64, global int) reg {
	key := constant{reg{class, 0}, value, global}
	r, ok := d.consts[key]
	if !ok {
		r = d.row(class)
		d.consts[key] = r
		d.k.constants = append(d.k.constants, constant{r, value, global})
	}
	return r
}

var specialRegisters = map[string]byte{
	"%tid.x": 'w', "%tid.y": 'w', "%tid.z": 'w', "%ntid.x": 'w', "%ntid.y": 'w', "%ntid.z": 'w',
	"%ctaid.x": 'w', "%ctaid.y": 'w', "%ctaid.z": 'w', "%nctaid.x": 'w', "%nctaid.y": 'w', "%nctaid.z": 'w',
	"%laneid": 'w', "%warpid": 'w', "%nwarpid": 'w',
	"%lanemask_eq": 'w', "%lanemask_le": 'w', "%lanemask_lt": 'w', "%lanemask_ge": 'w', "%lanemask_gt": 'w',
	"%dynamic_smem_size": 'w', "%total_smem_size": 'w',
}

// source returns the row of an operand that is read. class is what the
// instruction wants, '?' for a register of any.
func (d *decoder) source(o operand, class byte) (reg, error) {
	switch o.kind {
	case immediate:
		switch {
		case class == '?':
			return reg{}, fmt.Errorf("%s where a register was expected", o)
		case class == 'p':
			return d.constant('p', bit(o.bits != 0), 0), nil
		case o.f == 64 && class == 'w':
			return d.constant('w', b32(float32(f64(o.bits))), 0), nil
		case o.f == 32 && class == 'd':
			return d.constant('d', b64(float64(f32(o.bits))), 0), nil
		}
		return d.constant(class, o.bits&(^uint64(0)>>(64-classBits(class))), 0), nil
	case symbol:
		if o.neg {
			return reg{}, fmt.Errorf("%s: negated operands are not supported", o)
		}
		r, ok := d.regs[o.name]
		if !ok {
			r, ok = d.special(o.name)
		}
		if !ok {
			s, found := d.symbols[o.name]
			if !found {
				return r, fmt.Errorf("%s is not declared", o.name)
			}
			if class != 'w' && class != 'd' || class == 'w' && s.global > 0 {
				return r, fmt.Errorf("address of %s in %d bits", o.name, classBits(class))
			}
			r = d.constant(class, s.value, s.global)
		}
		if class != '?' && r.class != class {
			return r, fmt.Errorf("%s has %d bits, want %d", o.name, classBits(r.class), classBits(class))
		}
		return r, nil
	}
	return reg{}, fmt.Errorf("operand %s", o)
}

func (d *decoder) special(name string) (reg, bool) {
	class, ok := specialRegisters[name]
	if !ok {
		return reg{}, false
	}
	r := d.row(class)
	d.regs[name] = r
	d.k.specials = append(d.k.specials, special{r, name})
	return r, true
}

func classBits(class byte) int {
	switch class {
	case 'p':
		return 1
	case 'h':
		return 16
	case 'w':
		return 32
	}
	return 64
}

// dest returns the row of a register that is written.
func (d *decoder) dest(o operand, class byte) (reg, error) {
	if o.kind == symbol && o.name == "_" {
		return d.row(class), nil
	}
	r, ok := d.regs[o.name]
	switch {
	case o.kind != symbol || o.neg || !ok || strings.ContainsRune(o.name, '.'):
		return r, fmt.Errorf("destination %s is no register", o)
	case class != '?' && r.class != class:
		return r, fmt.Errorf("%s has %d bits, want %d", o.name, classBits(r.class), classBits(class))
	}
	return r, nil
}

func (d *decoder) address(in *instr, o operand) error {
	if o.kind != address {
		return fmt.Errorf("%s where an address was expected", o)
	}
	in.off = uint64(o.off)
	if o.name == "" {
		in.a = d.constant('d', 0, 0)
		return nil
	}
	class := byte('d')
	if r, ok := d.regs[o.name]; ok {
		class = r.class
	}
	var err error
	in.a, err = d.source(operand{kind: symbol, name: o.name}, class)
	if err == nil && in.a.class != 'd' && in.a.class != 'w' {
		err = fmt.Errorf("address %s has %d bits", o, classBits(in.a.class))
	}
	return err
}

func want(s *stmt, n int) error {
	if len(s.args) != n {
		return fmt.Errorf("%d operands, want %d", len(s.args), n)
	}
	return nil
}

var cacheHints = []string{"ca", "cg", "cs", "cv", "lu", "wb", "wt", "nc", "cta", "cluster", "gpu", "sys", "weak",
	"L1::evict_last", "L1::evict_first", "L1::no_allocate", "L1::evict_normal", "L1::evict_unchanged", "L2::64B", "L2::128B", "L2::256B"}

func (d *decoder) instruction(in *instr, s *stmt) error {
	in.guard = -1
	if s.guard != "" {
		r, err := d.source(operand{kind: symbol, name: s.guard}, 'p')
		if err != nil {
			return err
		}
		in.guard, in.negate = r.row, s.negate
	}
	parts := strings.Split(s.op, ".")
	switch base := parts[0]; base {
	case "bra":
		if err := want(s, 1); err != nil {
			return err
		}
		in.op, in.target = opBra, int32(d.src.labels[s.args[0].name])
		return nil
	case "ret", "exit":
		in.op = opExit
		return want(s, 0)
	case "trap", "brkpt":
		in.op = opTrap
		return want(s, 0)
	case "membar", "fence":
		in.op, in.fence = opFence, parts[len(parts)-1] != "cta"
		return want(s, 0)
	case "prefetch", "prefetchu", "nanosleep", "discard", "applypriority":
		in.op = opNop
		return nil
	case "bar", "barrier":
		return d.barrier(in, s, parts[1:])
	case "ld", "ldu", "st":
		return d.memory(in, s, parts)
	case "atom", "red":
		return d.atom(in, s, parts)
	case "shfl":
		return d.shuffle(in, s, parts[1:])
	case "vote":
		return d.vote(in, s, parts[1:])
	case "redux":
		return d.redux(in, s, parts[1:])
	case "activemask":
		if err := want(s, 1); err != nil {
			return err
		}
		in.op = opActive
		var err error
		in.d, err = d.dest(s.args[0], 'w')
		return err
	case "cvta":
		return d.cvta(in, s, parts[1:])
	case "mov":
		if len(s.args) == 2 && (s.args[0].kind == vector || s.args[1].kind == vector) {
			return d.pack(in, s, parts[1:])
		}
	case "lop3":
		return d.lop3(in, s)
	case "bfi":
		return d.bfi(in, s, parts[1:])
	}
	o, ok := compute(s.op)
	if !ok {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	if err := want(s, 1+len(o.src)); err != nil {
		return err
	}
	dst := o.dst
	if dst == 0 {
		dst = '?'
	}
	var err error
	to := s.args[0]
	if to.kind == pair && strings.HasPrefix(s.op, "setp") { // %p|%q: q is the opposite
		if len(o.src) == 3 {
			return fmt.Errorf("two results and a third operand are not supported")
		}
		if in.e, err = d.dest(to.list[1], 'p'); err != nil {
			return err
		}
		to = to.list[0]
	}
	if in.d, err = d.dest(to, dst); err != nil {
		return err
	}
	for i, r := range []*reg{&in.a, &in.b, &in.c}[:len(o.src)] {
		if *r, err = d.source(s.args[i+1], o.src[i]); err != nil {
			return err
		}
	}
	in.f, in.nonZero, in.ulps, in.abs = o.f, o.nonZero, o.ulps, o.absolute
	if in.e.class != 0 {
		return nil
	}
	if op, ok := fast[s.op]; ok && in.fits(op) {
		in.op = op
	}
	if op, ok := fastCompare[parts[len(parts)-1]]; ok && parts[0] == "setp" && len(parts) == 3 {
		for _, c := range comparisons {
			if c.name == parts[1] {
				in.op, in.mode = op, uint8(c.want[0]|c.want[1]<<1|c.want[2]<<2|c.want[3]<<3)
			}
		}
	}
	return nil
}

// fits says whether the registers are those of the loop: cvt takes wider ones.
func (in *instr) fits(op opcode) bool {
	switch op {
	case opExtU32, opExtS32:
		return in.a.class == 'w' && in.d.class == 'd'
	case opLow32:
		return in.a.class == 'd' && in.d.class == 'w'
	}
	return true
}
