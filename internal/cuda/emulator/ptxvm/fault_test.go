package ptxvm

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// snippet is a kernel k of one struct {u64 p; u64 q} around a body: %rd1 is p,
// %rd2 q, %r1 the thread, %r2 the block, %rd3 four times the thread.
func snippet(body string) []byte {
	return []byte(`.version 7.0
.target sm_80
.address_size 64
.const .align 4 .b32 table[4] = {10, 20, 30, 40};
.global .align 4 .b32 counter;
.extern .shared .align 16 .b8 dyn[];
.visible .entry k(.param .align 8 .b8 args[16])
{
	.reg .pred %p<9>;
	.reg .b16 %h<9>;
	.reg .b32 %r<30>;
	.reg .f32 %f<30>;
	.reg .b64 %rd<30>;
	.reg .f64 %d<9>;
	.local .align 4 .b8 stack[8];
	.shared .align 4 .b8 s[512];
	.shared .align 4 .b8 other[16];
	ld.param.u64 %rd1, [args];
	ld.param.u64 %rd2, [args+8];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ctaid.x;
	mul.wide.u32 %rd3, %r1, 4;
	mov.u64 %rd4, s;
	add.s64 %rd5, %rd4, %rd3;
	add.s64 %rd6, %rd1, %rd3;
` + body + `
	ret;
}
`)
}

// Each check fires on what it is for, and on nothing beside it. p is 256
// written words, q is 64 unknown ones; two blocks of 64 threads.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"store in bounds", "st.global.u32 [%rd6], 1;", ""},
		{"store past the end", "st.global.u32 [%rd6+772], 1;", "thread [63 0 0]: outside of global memory: 4 bytes at 0x700000000400: offset 1024 of an allocation of 1024 bytes"},
		{"load before the start", "ld.global.u32 %r3, [%rd1+-4];", "4 before an allocation of 1024 bytes"},
		{"wild pointer", "mov.u64 %rd7, 4096; ld.global.u32 %r3, [%rd7];", "in no allocation"},
		{"null", "mov.u64 %rd7, 0; st.u32 [%rd7], 1;", "in no allocation"},
		{"vector over the end", "ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%rd1+1016];", "misaligned access of 16 bytes"},
		{"misaligned", "ld.global.u32 %r3, [%rd1+2];", "misaligned access of 4 bytes"},
		{"misaligned 8", "ld.global.u64 %rd7, [%rd1+4];", "misaligned access of 8 bytes"},
		{"unknown global", "ld.global.u32 %r3, [%rd2];", "reads global memory that nobody wrote: byte 0 of 4"},
		{"known global", "add.s64 %rd7, %rd2, %rd3; setp.eq.s32 %p1, %r2, 0; @%p1 st.global.u32 [%rd7], 1; @%p1 ld.global.u32 %r3, [%rd7];", ""},
		{"unknown half", "setp.ne.s32 %p1, %r1, 0; @%p1 ret; st.global.u16 [%rd2], 1; ld.global.u32 %r3, [%rd2];", "byte 2 of 4"},
		{"unknown shared", "ld.shared.u32 %r3, [%rd5];", "reads shared memory that nobody wrote"},
		{"generic shared", "cvta.shared.u64 %rd7, %rd5; st.u32 [%rd7], 7; ld.shared.u32 %r3, [%rd5]; cvta.to.shared.u64 %rd8, %rd7; ld.shared.u32 %r3, [%rd8];", ""},
		{"unknown shared, generic", "cvta.shared.u64 %rd7, %rd5; ld.u32 %r3, [%rd7];", "reads shared memory that nobody wrote"},
		{"shared of the block before", "setp.eq.s32 %p1, %r2, 0; @%p1 st.shared.u32 [%rd5], 1; ld.shared.u32 %r3, [%rd5];", "block [1 0 0], thread [0 0 0]: reads shared memory that nobody wrote"},
		{"past all shared", "st.shared.u32 [%rd5+16384], 1;", "outside of shared memory"},
		{"before shared", "st.shared.u32 [%rd5+-4], 1;", "outside of shared memory"},
		{"from one shared variable to the next", "st.shared.u32 [%rd5+512], 1; st.shared.u32 [other], 0;", "outside of a variable in shared memory"},
		{"unknown local", "cvta.to.local.u64 %rd7, %rd8; ld.local.u32 %r3, [stack+4];", "reads local memory that nobody wrote"},
		{"local", "st.local.u32 [stack+4], %r1; ld.local.u32 %r3, [stack+4]; setp.ne.s32 %p1, %r1, %r3; @%p1 trap;", ""},
		{"past local", "st.local.u32 [stack+8], %r1;", "outside of local memory"},
		{"generic local", "mov.u64 %rd7, stack; cvta.local.u64 %rd7, %rd7; st.u32 [%rd7], %r1; ld.local.u32 %r3, [stack]; setp.ne.s32 %p1, %r1, %r3; @%p1 trap;", ""},
		{"past the parameters", "ld.param.u32 %r3, [args+16];", "outside of the parameters"},
		{"constants", "ld.const.u32 %r3, [table+8]; setp.ne.s32 %p1, %r3, 30; @%p1 trap;", ""},
		{"write to constants", "mov.u64 %rd7, table; st.u32 [%rd7], 1;", "write to constant memory"},

		{"race: neighbour without a barrier", "xor.b32 %r3, %r1, 63; mul.wide.u32 %rd7, %r3, 4; add.s64 %rd7, %rd4, %rd7; st.shared.u32 [%rd5], 0; bar.sync 0; st.shared.u32 [%rd5], %r1; ld.shared.u32 %r4, [%rd7];",
			"block [0 0 0], thread [32 0 0]: race: writes what was read or written with thread [31 0 0]"},
		{"neighbour after a barrier", "xor.b32 %r3, %r1, 63; mul.wide.u32 %rd7, %r3, 4; add.s64 %rd7, %rd4, %rd7; st.shared.u32 [%rd5], %r1; bar.sync 0; ld.shared.u32 %r4, [%rd7];", ""},
		{"race: overwrites what others still read", "xor.b32 %r3, %r1, 63; mul.wide.u32 %rd7, %r3, 4; add.s64 %rd7, %rd4, %rd7; st.shared.u32 [%rd5], %r1; bar.sync 0; ld.shared.u32 %r4, [%rd7]; st.shared.u32 [%rd5], 5;",
			"thread [32 0 0]: race: reads what was written with thread [31 0 0]"},
		{"race: all write one word", "st.shared.u32 [s], %r1;", "thread [1 0 0]: race: writes what was read or written with thread [0 0 0]"},
		{"all write the same", "st.shared.u32 [s], 5;", ""},
		{"race: within a warp", "setp.gt.u32 %p1, %r1, 31; @%p1 ret; xor.b32 %r3, %r1, 1; mul.wide.u32 %rd7, %r3, 4; add.s64 %rd7, %rd4, %rd7; st.shared.u32 [%rd5], %r1; ld.shared.u32 %r4, [%rd7];",
			"race: reads what was written with thread [1 0 0]"},
		{"within a warp after its barrier", "xor.b32 %r3, %r1, 1; mul.wide.u32 %rd7, %r3, 4; add.s64 %rd7, %rd4, %rd7; st.shared.u32 [%rd5], %r1; bar.warp.sync -1; ld.shared.u32 %r4, [%rd7]; bar.warp.sync -1; st.shared.u32 [%rd5], 2;", ""},
		{"race: a warp's barrier orders no other warp", "xor.b32 %r3, %r1, 32; mul.wide.u32 %rd7, %r3, 4; add.s64 %rd7, %rd4, %rd7; st.shared.u32 [%rd5], 0; bar.sync 0; st.shared.u32 [%rd5], %r1; bar.warp.sync -1; ld.shared.u32 %r4, [%rd7];",
			"race: writes what was read or written with thread [0 0 0]"},
		{"race: many readers, one of another warp writes", "st.shared.u32 [%rd5], 0; bar.sync 0; ld.shared.u32 %r3, [s]; setp.ne.s32 %p1, %r1, 40; @%p1 ret; st.shared.u32 [s], 9;", "thread [40 0 0]: race"},
		{"shared atomics", "st.shared.u32 [%rd5], 0; bar.sync 0; atom.shared.add.u32 %r3, [s], 1; bar.sync 0; ld.shared.u32 %r4, [s]; setp.ne.s32 %p1, %r4, 64; @%p1 trap;", ""},
		{"race: atomic and plain", "st.shared.u32 [%rd5], 0; bar.sync 0; atom.shared.add.u32 %r3, [s], 1; ld.shared.u32 %r4, [s];", "race: reads what was written"},
		{"race: between blocks", "st.global.u32 [%rd6], %r2;", "block [1 0 0], thread [0 0 0]: race: writes what was read or written with another block"},
		{"race: reads another block's", "setp.eq.s32 %p1, %r2, 0; @%p1 st.global.u32 [%rd6], 7; @!%p1 ld.global.u32 %r3, [%rd6];", "race: reads what was written with another block"},
		{"race: writes what another block reads", "setp.eq.s32 %p1, %r2, 1; @%p1 st.global.u32 [%rd6], 7; @!%p1 ld.global.u32 %r3, [%rd6];", "block [1 0 0], thread [0 0 0]: race: writes what was read or written with another block"},
		{"the last block reads what others wrote, after a fence and an atomic", `setp.eq.s32 %p1, %r2, 0; @%p1 st.global.u32 [%rd6], 7; membar.gl; bar.sync 0;
			atom.global.add.u32 %r4, [counter], 1; @!%p1 ld.global.u32 %r3, [%rd6];`, ""},
		{"global atomics", "atom.global.add.u32 %r3, [%rd1], 1; red.global.max.s32 [%rd1+4], %r1; atom.global.cas.b32 %r4, [%rd1+8], 0, 5;", ""},

		{"divergent barrier: passed by", "setp.lt.u32 %p1, %r1, 7; @%p1 bra $skip; bar.sync 0;\n$skip:", "divergent barrier: thread [0 0 0] has ended"},
		{"divergent barrier: half a warp's guard", "setp.lt.u32 %p1, %r1, 7; @%p1 bar.sync 0;", "divergent barrier: thread [7 0 0] has ended"},
		{"divergent barrier: two places", "setp.lt.u32 %p1, %r1, 7; @%p1 bra $b; bar.sync 0; ret;\n$b: bar.sync 0;", "divergent barrier: thread [7 0 0] waits at another, PTX line"},
		{"divergent barrier: warps at two places", "setp.lt.u32 %p1, %r1, 32; @%p1 bra $b; bar.sync 0; ret;\n$b: bar.sync 0;", "divergent barrier: thread [0 0 0] waits at another, PTX line 27"},
		{"barrier after a detour", "setp.lt.u32 %p1, %r1, 7; @%p1 bra $far;\n$back: bar.sync 0; ret;\n$far: mov.u32 %r3, 0; bra.uni $back;", ""},
		{"lanes waited for are at the barrier", "setp.lt.u32 %p1, %r1, 7; @%p1 bra $b; shfl.sync.idx.b32 %r3, %r1, 9, 31, -1; ret;\n$b: bar.sync 0;",
			"waits for lanes 0x7f of its member mask, which wait at the barrier of PTX line"},
		{"not in its mask", "shfl.sync.idx.b32 %r3, %r1, 0, 31, 0xffff;", "lane 16 is not in its own member mask 0xffff"},
		{"reads a lane that ended", "setp.gt.u32 %p1, %r1, 20; @%p1 ret; shfl.sync.down.b32 %r3, %r1, 1, 31, -1;", "reads lane 21, which takes no part"},
		{"lanes that ended are not waited for", "setp.gt.u32 %p1, %r1, 20; @%p1 ret; shfl.sync.idx.b32 %r3, %r1, 4, 31, -1; setp.ne.s32 %p2, %r3, 4; @%p2 trap;", ""},
		{"lanes that come later are waited for", "setp.gt.u32 %p1, %r1, 15; mov.u32 %r4, %r1; @%p1 bra $on; add.s32 %r4, %r4, 100;\n$on: shfl.sync.bfly.b32 %r3, %r4, 16, 31, -1; and.b32 %r5, %r1, 31; setp.ne.s32 %p2, %r5, 20; @%p2 ret; setp.lt.s32 %p3, %r3, 36; @%p3 trap;", ""},
		{"division by zero", "div.u32 %r3, %r1, %r2;", "division by zero"},
		{"endless", "$l: bra.uni $l;", "the block runs longer than 100000 warp instructions"},
		{"trap", "trap;", "trap"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse(snippet(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for _, slow := range []bool{false, true} {
				d := &device{t: t}
				args := binary.LittleEndian.AppendUint64(nil, d.bytes(make([]byte, 1024)))
				args = binary.LittleEndian.AppendUint64(args, d.alloc(256))
				k := m.Kernel("k")
				k.slow = slow
				_, err = k.Run(&d.Memory, [3]int{2, 1, 1}, [3]int{64, 1, 1}, 0, args, Options{Limit: 1e5})
				var f *Fault
				switch {
				case c.want == "" && err != nil:
					t.Error(err)
				case c.want != "" && (!errors.As(err, &f) || !strings.Contains(err.Error(), c.want)):
					t.Errorf("%v, want %q", err, c.want)
				case f != nil && (f.Line < 24 || !strings.HasPrefix(err.Error(), "kernel k, PTX line ")):
					t.Errorf("no place in %v", err)
				}
			}
		})
	}
}

// What is wrong with a launch is said before it runs.
func TestLaunchErrors(t *testing.T) {
	m, err := Parse(snippet(""))
	if err != nil {
		t.Fatal(err)
	}
	k := m.Kernel("k")
	one := [3]int{1, 1, 1}
	for _, c := range []struct {
		grid, block   [3]int
		dynamic, args int
		want          string
	}{
		{one, [3]int{1025, 1, 1}, 0, 16, "block [1025 1 1]"},
		{one, [3]int{64, 32, 1}, 0, 16, "block of [64 32 1] threads"},
		{[3]int{1, 0, 1}, one, 0, 16, "grid [1 0 1]"},
		{one, one, 0, 8, "8 bytes of arguments, want 16"},
		{one, one, 16, 16, "16 bytes of dynamic shared memory, but it declares none"},
	} {
		_, err := k.Run(&Memory{}, c.grid, c.block, c.dynamic, make([]byte, c.args), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// Errors of Parse name the line, the kernel and what was expected.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"tex.2d.v4.f32.s32 {%f1, %f2, %f3, %f4}, [%rd1];", "ptx: line 26: kernel k: tex.2d.v4.f32.s32 {%f1, %f2, %f3, %f4}, [%rd1]: unknown instruction tex.2d.v4.f32.s32"},
		{"add.f32 %f1, %f2;", "2 operands, want 3"},
		{"add.s32 %r1, %r2, %rd1;", "%rd1 has 64 bits, want 32"},
		{"add.s32 %r1, %r2, %nope;", "%nope is not declared"},
		{"add.s32 %tid.x, %r2, %r1;", "destination %tid.x is no register"},
		{"bra $nowhere;", `no label "$nowhere"`},
		{"bar.sync 0, 32;", "only bar.sync of the whole block"},
		{"bar.red.popc.u32 %r1, 0, %p1;", "only bar.sync of the whole block"},
		{"st.param.u32 [args], %r1;", "parameters are read only"},
		{"ld.global.v3.f32 {%f1, %f2, %f3}, [%rd1];", "unknown instruction"},
		{"ld.global.v4.f64 {%d1, %d2, %d3, %d4}, [%rd1];", "32 bytes at once"},
		{"ld.global.v2.f32 %f1, [%rd1];", "want 2 elements"},
		{"fma.f32 %f1, %f1, %f1, %f1;", "unknown instruction fma.f32"},
		{"add.rz.f32 %f1, %f1, %f1;", "unknown instruction add.rz.f32"},
		{"cvt.s32.f32 %r1, %f1;", "unknown instruction cvt.s32.f32"},
		{"ex2.f32 %f1, %f1;", "unknown instruction ex2.f32"},
		{"mov.u32 %r1, counter;", "address of counter in 32 bits"},
		{"add.s32 %r1, %r1, ;", "2 operands, want 3"},
		{".reg .b32 %r<3>;", "register %r0 is there twice"},
		{"$a:\n$a:", "label $a is there twice"},
		{"call.uni f, ();", ""},
		{"add.s32 %r1, %r1, 1", "\"ret\" after an operand of add.s32"},
	} {
		_, err := Parse(snippet(c.body))
		var se *SyntaxError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.body, err, c.want)
		} else if se.Line < 26 || se.Line > 27 {
			t.Errorf("%s: line %d: %v", c.body, se.Line, err)
		}
	}
	for _, c := range []struct{ src, want string }{
		{"", "no .version"},
		{"hello", `"hello" where a directive was expected`},
		{".version 7.0\n.address_size 32", "line 2: address size"},
		{".version 7.0\n.visible .func f() { ret; }", "functions are not supported"},
		{".version 7.0\n.entry k() { ret; ", "kernel has no end"},
		{".version 7.0\n.entry k() { ret; } .entry k() {}", "is there twice"},
		{".version 7.0\n.global .b32 x[99999999999];", "array length"},
		{".version 7.0 \x01", "character"},
		{".version 7.0\n// a·b", "line 2: a character that is not ASCII"},
		{".version 7.0\n/* ", "comment has no end"},
	} {
		if _, err := Parse([]byte(c.src)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.src, err, c.want)
		}
	}
}

// FuzzParse looks for panics of the parser, and of the kernels that it takes.
func FuzzParse(f *testing.F) {
	f.Add(string(snippet("bar.sync 0; @%p1 bra $x;\n$x: shfl.sync.up.b32 %r1|%p1, %r2, 1, 0, -1;")))
	f.Add(string(snippet("{ .reg .b32 t; mov.b32 t, %r1; mov.b64 {%r1, %r2}, %rd1; mov.b64 %rd1, {%r1, t}; lop3.b32 %r1, %r1, t, 5, 0x96; }")))
	f.Add(string(snippet("ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1+16]; atom.global.cas.b32 %r1, [%rd1], 0, 1; .pragma \"nounroll\"; .loc 1 2 3\n")))
	f.Add(string(snippet("cvt.rzi.s32.f32 %r1, 0f3F800000; setp.lt.and.f32 %p1, %f1, %f2, %p2; bfe.u32 %r1, %r2, 3, 4; prmt.b32 %r1, %r2, %r3, 0x3210;")))
	f.Add(".version 7.0\n.target sm_80, debug\n.visible .entry k(.param .u64 .ptr .global .align 4 p, .param .u32 n)\n.maxntid 32, 1, 1\n.minnctapersm 1\n{ ret; }")
	f.Fuzz(func(t *testing.T, src string) {
		m, err := Parse([]byte(src))
		if err != nil {
			return
		}
		size := 0
		for _, v := range m.vars {
			size += v.size
		}
		for _, k := range m.Kernels {
			if size > 1<<16 || k.exact && k.Threads() > 1024 || k.arena+k.Local > 1<<16 || k.rows32+k.rows64+k.preds > 1<<12 {
				continue
			}
			for _, slow := range []bool{false, true} {
				k.slow = slow
				d := &device{t: t}
				args := make([]byte, k.ParamSize)
				if len(args) >= 8 {
					binary.LittleEndian.PutUint64(args, d.bytes(make([]byte, 256)))
				}
				block := [3]int{40, 1, 1}
				if k.exact {
					block = k.MaxThreads
				}
				_, _ = k.Run(&d.Memory, [3]int{2, 1, 1}, block, 0, args, Options{Limit: 1000})
			}
		}
	})
}
