package ptxvm

import (
	"fmt"
	"slices"
	"strings"
)

type opcode uint8

const (
	opCompute opcode = iota // by instr.f
	opBra
	opExit
	opTrap
	opBar
	opWarpBar
	opFence
	opNop
	opLoad
	opStore
	opAtom
	opShfl
	opVote
	opActive
	opRedux
	opUnpack // mov.b64 {d, e}, a
	// What kernels spend their time on has a loop of its own.
	opMov32
	opMov64
	opAdd32
	opSub32
	opMul32
	opMad32
	opAnd32
	opXor32
	opShl32
	opShr32
	opAdd64
	opShl64
	opWideU32
	opWideS32
	opExtU32
	opExtS32
	opLow32
	opAddF
	opSubF
	opMulF
	opFmaF
	opCmpS32 // setp by instr.mode: a bit per order
	opCmpU32
	opCmpF32
	opSelp32
)

// fast are the opcodes with a loop of their own. Tests run them by instr.f too.
var fast = map[string]opcode{
	"mov.u32": opMov32, "mov.s32": opMov32, "mov.b32": opMov32, "mov.f32": opMov32,
	"mov.u64": opMov64, "mov.s64": opMov64, "mov.b64": opMov64, "mov.f64": opMov64,
	"cvta.to.global.u64": opMov64, "cvta.global.u64": opMov64,
	"add.s32": opAdd32, "add.u32": opAdd32, "sub.s32": opSub32, "sub.u32": opSub32,
	"mul.lo.s32": opMul32, "mul.lo.u32": opMul32, "mad.lo.s32": opMad32, "mad.lo.u32": opMad32,
	"and.b32": opAnd32, "xor.b32": opXor32, "shl.b32": opShl32, "shr.u32": opShr32,
	"add.s64": opAdd64, "add.u64": opAdd64, "shl.b64": opShl64,
	"mul.wide.u32": opWideU32, "mul.wide.s32": opWideS32,
	"cvt.u64.u32": opExtU32, "cvt.s64.s32": opExtS32, "cvt.u32.u64": opLow32,
	"add.f32": opAddF, "add.rn.f32": opAddF, "sub.f32": opSubF, "sub.rn.f32": opSubF,
	"mul.f32": opMulF, "mul.rn.f32": opMulF, "fma.rn.f32": opFmaF,
	"selp.b32": opSelp32, "selp.u32": opSelp32, "selp.s32": opSelp32, "selp.f32": opSelp32,
}

// fastCompare are those of setp, by type.
var fastCompare = map[string]opcode{"s32": opCmpS32, "u32": opCmpU32, "b32": opCmpU32, "f32": opCmpF32}

// reg is a row of a register file: one value per lane of a warp. Constants
// and special registers have rows too, so that every operand is one.
type reg struct {
	class byte // 'p', 'h' and 'w' (rows of 32 bits), 'd' (of 64); 0: none
	row   int32
}

type space uint8

const (
	generic space = iota
	global
	shared
	local
	param
)

var spaceNames = [...]string{"generic", "global", "shared", "local", "param"}

// instr is one decoded instruction.
type instr struct {
	op      opcode
	negate  bool // of the guard
	space   space
	size    uint8 // bytes of an element in memory
	signed  bool
	relaxed bool // ordered access (volatile, relaxed, acquire, release): never a race with its like
	nonZero bool
	fence   bool
	float   bool  // a float atomic
	words   bool  // a load of 4-byte elements to registers of 4
	vec     uint8 // elements
	mode    uint8 // of shfl, vote and setp
	guard   int32 // row of predicates; -1: none
	d, e    reg   // e: the second destination
	a, b, c reg
	v       [4]reg // elements of a vector in memory
	off     uint64
	target  int32
	f       fn
	ulps    float64
	abs     float64
}

// constant fills a row.
type constant struct {
	reg   reg
	value uint64
	// global is the index in Module.vars, plus 1, whose address is added.
	global int
}

// special fills a row with %tid.x and its like.
type special struct {
	reg  reg
	name string
}

// Kernel is a decoded kernel.
type Kernel struct {
	Name       string
	ParamSize  int    // bytes of its parameters
	Shared     int    // bytes of static shared memory
	Local      int    // bytes per thread
	MaxThreads [3]int // per block as .maxntid or .reqntid state it; 0: not stated
	exact      bool
	dynamic    bool // it declares shared memory of the launch's size
	module     *Module
	code       []instr
	source     []stmt
	rows32     int
	rows64     int
	preds      int
	constants  []constant
	specials   []special
	arena      int // bytes of static shared memory as laid out here, with gaps
	gaps       []span
	fine       bool // accesses shared memory by less than 4 bytes
	slow       bool // tests: no loops of their own
}

// span is a range of shared memory.
type span struct{ off, end int }

// Module is a parsed and decoded PTX module.
type Module struct {
	Kernels []*Kernel
	vars    []variable // .global and .const
}

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

// Kernel returns the kernel of that name, or nil.
func (m *Module) Kernel(name string) *Kernel {
	for _, k := range m.Kernels {
		if k.Name == name {
			return k
		}
	}
	return nil
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

func (d *decoder) barrier(in *instr, s *stmt, mods []string) error {
	if len(mods) > 0 && mods[0] == "warp" {
		in.op = opWarpBar
		if err := want(s, 1); err != nil {
			return err
		}
		var err error
		in.c, err = d.source(s.args[0], 'w')
		return err
	}
	mods = slices.DeleteFunc(mods, func(m string) bool { return m == "cta" || m == "aligned" })
	if len(mods) != 1 || mods[0] != "sync" {
		return fmt.Errorf("only bar.sync of the whole block is supported")
	}
	if len(s.args) != 1 || s.args[0].kind != immediate {
		return fmt.Errorf("only bar.sync of the whole block, by a constant, is supported")
	}
	if s.args[0].bits > 15 {
		return fmt.Errorf("barrier %d, want 0 to 15", s.args[0].bits)
	}
	in.op = opBar
	return nil
}

// memory is ld and st.
func (d *decoder) memory(in *instr, s *stmt, parts []string) error {
	in.op, in.vec = opLoad, 1
	if parts[0] == "st" {
		in.op = opStore
	}
	mods := parts[1:]
	if len(mods) == 0 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	t, ok := typeOf(mods[len(mods)-1])
	if !ok || t.kind == 'p' {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	for _, m := range mods[:len(mods)-1] {
		switch m {
		case "global", "const":
			in.space = global
		case "shared", "shared::cta":
			in.space = shared
		case "local":
			in.space = local
		case "param":
			in.space = param
		case "v2":
			in.vec = 2
		case "v4":
			in.vec = 4
		case "volatile", "relaxed", "acquire", "release":
			in.relaxed = true
		default:
			if !slices.Contains(cacheHints, m) {
				return fmt.Errorf("unknown instruction %s", s.op)
			}
		}
	}
	if err := want(s, 2); err != nil {
		return err
	}
	in.size, in.signed = uint8(t.bits/8), t.kind == 's'
	if int(in.size)*int(in.vec) > 16 {
		return fmt.Errorf("%d bytes at once, at most 16", int(in.size)*int(in.vec))
	}
	if in.space == shared && in.size < 4 || in.space == generic && in.size < 4 {
		d.k.fine = true
	}
	at, value := s.args[1], s.args[0]
	if in.op == opStore {
		at, value = value, at
	}
	if in.space == param && in.op == opStore {
		return fmt.Errorf("parameters are read only")
	}
	if err := d.address(in, at); err != nil {
		return err
	}
	elems := []operand{value}
	if in.vec > 1 {
		elems = value.list
	}
	if len(elems) != int(in.vec) || in.vec > 1 && value.kind != vector {
		return fmt.Errorf("operand %s, want %d elements", value, in.vec)
	}
	in.words = in.op == opLoad && in.size == 4
	for i, e := range elems {
		var err error
		if in.op == opLoad {
			in.v[i], err = d.dest(e, '?')
			if e.name == "_" {
				in.v[i], err = d.row(t.class), nil
			}
		} else {
			class := t.class
			if r, ok := d.regs[e.name]; ok {
				class = r.class
			}
			in.v[i], err = d.source(e, class)
		}
		if err != nil {
			return err
		}
		if c := in.v[i].class; c == 'p' || classBits(c) < int(t.bits) && t.bits > 8 {
			return fmt.Errorf("%s has %d bits, want %d", e, classBits(c), t.bits)
		}
		in.words = in.words && in.v[i].class == 'w'
	}
	return nil
}

// atom is atom and red.
func (d *decoder) atom(in *instr, s *stmt, parts []string) error {
	in.op, in.vec, in.relaxed = opAtom, 1, true
	mods := parts[1:]
	if len(mods) < 2 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	t, ok := typeOf(mods[len(mods)-1])
	if !ok || t.bits < 32 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	op := ""
	for _, m := range mods[:len(mods)-1] {
		switch m {
		case "global":
			in.space = global
		case "shared", "shared::cta":
			in.space = shared
		case "relaxed":
		case "acquire", "release", "acq_rel":
			in.fence = true
		case "cta", "gpu", "sys", "cluster":
		default:
			if op != "" {
				return fmt.Errorf("unknown instruction %s", s.op)
			}
			op = m
		}
	}
	f, err := modify(op, t)
	if err != nil {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	in.f, in.size, in.float = f, uint8(t.bits/8), t.kind == 'f'
	args := s.args
	if parts[0] == "atom" {
		if len(args) == 0 {
			return want(s, 3)
		}
		if in.d, err = d.dest(args[0], t.class); err != nil {
			return err
		}
		args = args[1:]
	}
	n := 2
	if op == "cas" {
		n = 3
	}
	if len(args) != n {
		return want(s, len(s.args)-len(args)+n)
	}
	if err := d.address(in, args[0]); err != nil {
		return err
	}
	if in.b, err = d.source(args[1], t.class); err == nil && op == "cas" {
		in.c, err = d.source(args[2], t.class)
	}
	return err
}

// Modes of shfl.
const (
	shflUp = iota
	shflDown
	shflBfly
	shflIdx
)

func (d *decoder) shuffle(in *instr, s *stmt, mods []string) error {
	in.op = opShfl
	mode := -1
	if len(mods) == 3 && mods[0] == "sync" && mods[2] == "b32" {
		mode = slices.Index([]string{"up", "down", "bfly", "idx"}, mods[1])
	}
	if mode < 0 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	in.mode = uint8(mode)
	if err := want(s, 5); err != nil {
		return err
	}
	dst := s.args[0]
	var err error
	if dst.kind == pair {
		if in.e, err = d.dest(dst.list[1], 'p'); err != nil {
			return err
		}
		dst = dst.list[0]
	}
	if in.d, err = d.dest(dst, 'w'); err != nil {
		return err
	}
	for i, r := range []*reg{&in.a, &in.b, &in.v[0], &in.c} {
		if *r, err = d.source(s.args[i+1], 'w'); err != nil {
			return err
		}
	}
	return nil
}

// Modes of vote and redux.
const (
	voteAll = iota
	voteAny
	voteUni
	voteBallot
)

func (d *decoder) vote(in *instr, s *stmt, mods []string) error {
	in.op = opVote
	mode := slices.Index([]string{"sync.all.pred", "sync.any.pred", "sync.uni.pred", "sync.ballot.b32"}, strings.Join(mods, "."))
	if mode < 0 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	in.mode = uint8(mode)
	if err := want(s, 3); err != nil {
		return err
	}
	dst := byte('p')
	if mode == voteBallot {
		dst = 'w'
	}
	arg := s.args[1]
	in.signed = arg.neg // vote of !p
	arg.neg = false
	var err error
	if in.d, err = d.dest(s.args[0], dst); err != nil {
		return err
	}
	if in.a, err = d.source(arg, 'p'); err != nil {
		return err
	}
	in.c, err = d.source(s.args[2], 'w')
	return err
}

func (d *decoder) redux(in *instr, s *stmt, mods []string) error {
	in.op = opRedux
	if len(mods) != 3 || mods[0] != "sync" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	t, ok := typeOf(mods[2])
	if !ok || t.bits != 32 || t.kind == 'f' {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	f, err := modify(mods[1], t)
	if err != nil || mods[1] == "cas" || mods[1] == "exch" || mods[1] == "inc" || mods[1] == "dec" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	in.f = f
	if err := want(s, 3); err != nil {
		return err
	}
	if in.d, err = d.dest(s.args[0], 'w'); err != nil {
		return err
	}
	if in.a, err = d.source(s.args[1], 'w'); err != nil {
		return err
	}
	in.c, err = d.source(s.args[2], 'w')
	return err
}

func (d *decoder) cvta(in *instr, s *stmt, mods []string) error {
	to := len(mods) > 0 && mods[0] == "to"
	if to {
		mods = mods[1:]
	}
	if len(mods) != 2 || mods[1] != "u64" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	base, ok := map[string]uint64{"global": 0, "const": 0, "shared": sharedBase, "shared::cta": sharedBase, "local": localBase, "param": paramBase}[mods[0]]
	if !ok {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	if to {
		base = -base
	}
	if err := want(s, 2); err != nil {
		return err
	}
	in.f = func(a, _, _ uint64) uint64 { return a + base }
	if base == 0 {
		in.op = opMov64
	}
	var err error
	if in.d, err = d.dest(s.args[0], 'd'); err != nil {
		return err
	}
	in.a, err = d.source(s.args[1], 'd')
	return err
}

// pack is mov between a register and the halves of it.
func (d *decoder) pack(in *instr, s *stmt, mods []string) error {
	t, ok := typ{}, len(mods) == 1
	if ok {
		t, ok = typeOf(mods[0])
	}
	if !ok || t.kind != 'b' || t.bits < 32 {
		return fmt.Errorf("unknown instruction %s of a vector", s.op)
	}
	half := map[byte]byte{'w': 'h', 'd': 'w'}[t.class]
	var err error
	if v := s.args[0]; v.kind == vector {
		in.op = opUnpack
		if len(v.list) != 2 || s.args[1].kind == vector {
			return fmt.Errorf("want two halves")
		}
		if in.d, err = d.dest(v.list[0], half); err != nil {
			return err
		}
		if in.e, err = d.dest(v.list[1], half); err != nil {
			return err
		}
		in.a, err = d.source(s.args[1], t.class)
		return err
	}
	v := s.args[1]
	if len(v.list) != 2 {
		return fmt.Errorf("want two halves")
	}
	if in.d, err = d.dest(s.args[0], t.class); err != nil {
		return err
	}
	if in.a, err = d.source(v.list[0], half); err != nil {
		return err
	}
	in.b, err = d.source(v.list[1], half)
	shift := t.bits / 2
	in.f = func(a, b, _ uint64) uint64 { return a | b<<shift }
	return err
}

func (d *decoder) lop3(in *instr, s *stmt) error {
	if s.op != "lop3.b32" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	if err := want(s, 5); err != nil {
		return err
	}
	if s.args[4].kind != immediate || s.args[4].bits > 255 {
		return fmt.Errorf("table %s, want a constant up to 255", s.args[4])
	}
	table := s.args[4].bits
	in.f = func(a, b, c uint64) uint64 {
		var v uint64
		for i := range 8 {
			if table>>i&1 == 0 {
				continue
			}
			m := ^uint64(0)
			for j, x := range [3]uint64{c, b, a} {
				if i>>j&1 == 0 {
					x = ^x
				}
				m &= x
			}
			v |= m
		}
		return v
	}
	return d.threeTo(in, s, "www")
}

func (d *decoder) bfi(in *instr, s *stmt, mods []string) error {
	if len(mods) != 1 || mods[0] != "b32" && mods[0] != "b64" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	if err := want(s, 5); err != nil {
		return err
	}
	t, _ := typeOf(mods[0])
	if s.args[3].kind != immediate || s.args[4].kind != immediate {
		return fmt.Errorf("want a constant position and length")
	}
	pos, n := s.args[3].bits&255, s.args[4].bits&255
	mask := (uint64(1)<<n - 1) << pos
	in.f = func(a, b, _ uint64) uint64 { return b&^mask | a<<pos&mask }
	return d.threeTo(in, s, each(t.class, 2))
}

// threeTo reads a destination and as many sources as classes.
func (d *decoder) threeTo(in *instr, s *stmt, classes string) error {
	var err error
	if in.d, err = d.dest(s.args[0], classes[0]); err != nil {
		return err
	}
	for i, r := range []*reg{&in.a, &in.b, &in.c}[:len(classes)] {
		if *r, err = d.source(s.args[i+1], classes[i]); err != nil {
			return err
		}
	}
	return nil
}
