package ptxvm

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

// Kernel returns the kernel of that name, or nil.
func (m *Module) Kernel(name string) *Kernel {
	for _, k := range m.Kernels {
		if k.Name == name {
			return k
		}
	}
	return nil
}
