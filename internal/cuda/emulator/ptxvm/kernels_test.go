package ptxvm

import (
	"encoding/binary"
	"flag"
	"math"
	"math/bits"
	"os"
	"os/exec"
	"testing"
)

var update = flag.Bool("update", false, "compile testdata/probe.cu")

// TestProbeIsCurrent holds testdata/probe.ptx to its source. Kernels of any
// style that clang emits are there to be tried, whatever the engine uses.
func TestProbeIsCurrent(t *testing.T) {
	clang, err := exec.LookPath("clang++-19")
	if err != nil {
		t.Skip("no clang++-19 here")
	}
	cmd := exec.Command(clang, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "--cuda-feature=+ptx70", "-nocudainc",
		"-nocudalib", "-O3", "-ffp-contract=fast", "-fno-exceptions", "-std=c++17", "-S", "probe.cu", "-o", "-")
	cmd.Dir = "testdata"
	cmd.Stderr = os.Stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/probe.ptx", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, "probe.ptx"); string(got) != string(want) {
		t.Error("testdata/probe.ptx is not what clang makes of probe.cu: run with -update")
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// device is Memory with typed access.
type device struct {
	Memory
	t testing.TB
}

func (d *device) floats(v ...float32) uint64 {
	b := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	return d.bytes(b)
}

func (d *device) bytes(b []byte) uint64 {
	d.t.Helper()
	p := d.alloc(len(b))
	if err := d.Write(p, b); err != nil {
		d.t.Fatal(err)
	}
	return p
}

func (d *device) alloc(n int) uint64 {
	d.t.Helper()
	p, err := d.Alloc(n)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

func (d *device) readFloats(p uint64, n int) []float32 {
	d.t.Helper()
	v := make([]float32, n)
	for i, u := range d.readWords(p, n) {
		v[i] = math.Float32frombits(u)
	}
	return v
}

func (d *device) readWords(p uint64, n int) []uint32 {
	d.t.Helper()
	b := make([]byte, 4*n)
	if err := d.Read(b, p); err != nil {
		d.t.Fatal(err)
	}
	v := make([]uint32, n)
	for i := range v {
		v[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return v
}

// probeArgs is struct P of probe.cu.
type probeArgs struct {
	X, W, H, Out  uint64
	T, B, I       int32
	Eps           float32
	Mask          uint64
	Seed          uint64
	Cnt, DD, V, Z uint64
}

func (a probeArgs) bytes() []byte {
	b, err := binary.Append(nil, binary.LittleEndian, a)
	if err != nil {
		panic(err)
	}
	return b
}

func parseFile(t testing.TB, name string) *Module {
	t.Helper()
	m, err := Parse(read(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// roads runs a test by the loops of common opcodes and by the general way, on
// one worker and on three.
func roads(t *testing.T, m *Module, f func(t *testing.T, o Options)) {
	for _, c := range []struct {
		name string
		slow bool
		o    Options
	}{{"fast", false, Options{}}, {"general", true, Options{}}, {"workers", false, Options{Workers: 3}}, {"reverse", false, Options{Reverse: true}}} {
		t.Run(c.name, func(t *testing.T) {
			for _, k := range m.Kernels {
				k.slow = c.slow
			}
			f(t, c.o)
		})
	}
}

func noise(i int) float32 { return float32(math.Sin(float64(i)*12.9898) * .7) }

func TestGRU(t *testing.T) {
	const T, B, H = 5, 16, 24
	m := parseFile(t, "probe.ptx")
	roads(t, m, func(t *testing.T, o Options) {
		d := &device{t: t}
		x, w := make([]float32, T*B), make([]float32, H*72)
		for i := range x {
			x[i] = noise(i)
		}
		for i := range w {
			w[i] = noise(i + 1000)
		}
		h := d.alloc(T * B * H * 4)
		a := probeArgs{X: d.floats(x...), W: d.floats(w...), H: h, T: T, B: B, I: 1, Mask: d.bytes([]byte{1, 1, 0, 1, 1})}
		stats, err := m.Kernel("gru").Run(&d.Memory, [3]int{B / 8, 1, 1}, [3]int{8 * H, 1, 1}, (72*H+8*H)*4, a.bytes(), o)
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(B / 8 * (1 + 2*T)); stats.Barriers != want {
			t.Errorf("%d barriers, want %d", stats.Barriers, want)
		}
		got := d.readFloats(h, T*B*H)
		s := func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
		for b := range B {
			prev := make([]float64, H)
			for step := range T {
				next := make([]float64, H)
				for j := range H {
					g := [3]float64{}
					for k := range H {
						for i := range g {
							g[i] += prev[k] * float64(w[k*72+i*24+j])
						}
					}
					in := float64(x[step*B+b])
					z, r := s(g[0]+in), s(g[1]+in)
					next[j] = z*prev[j] + (1-z)*math.Tanh(g[2]*r+in)
					if step == 2 {
						next[j] = prev[j]
					}
					if v := got[(step*B+b)*H+j]; math.Abs(float64(v)-next[j]) > 1e-5 {
						t.Fatalf("h[%d,%d,%d] = %v, want %v", step, b, j, v, next[j])
					}
				}
				prev = next
			}
		}
	})
}

func TestReduce(t *testing.T) {
	m := parseFile(t, "probe.ptx")
	roads(t, m, func(t *testing.T, o Options) {
		for _, c := range []struct{ n, threads int }{{100, 128}, {1000, 256}, {3, 64}, {5000, 1024}} {
			d := &device{t: t}
			x := make([]float32, c.n)
			sum := 0.
			for i := range x {
				x[i] = float32(i%7 + 1)
				sum += float64(x[i])
			}
			a := probeArgs{X: d.floats(x...), Out: d.alloc(8), T: int32(c.n), Eps: 2}
			if _, err := m.Kernel("reduce").Run(&d.Memory, [3]int{2, 1, 1}, [3]int{c.threads, 1, 1}, 0, a.bytes(), o); err != nil {
				t.Fatal(err)
			}
			want := float32(sum)/2 + float32(math.Sqrt(sum))
			for _, v := range d.readFloats(a.Out, 2) {
				if v != want {
					t.Errorf("%d numbers, %d threads: %v, want %v", c.n, c.threads, v, want)
				}
			}
		}
	})
}

// The known answers of Random123's kat_vectors for key and counter 0.
func TestPhilox(t *testing.T) {
	m := parseFile(t, "probe.ptx")
	roads(t, m, func(t *testing.T, o Options) {
		d := &device{t: t}
		const n = 64
		a := probeArgs{Cnt: d.alloc(16 * n), Out: d.alloc(16 * n)}
		if _, err := m.Kernel("philox").Run(&d.Memory, [3]int{2, 1, 1}, [3]int{n / 2, 1, 1}, 0, a.bytes(), o); err != nil {
			t.Fatal(err)
		}
		u, f := d.readWords(a.Cnt, 4*n), d.readFloats(a.Out, 4*n)
		if want := [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}; [4]uint32(u) != want {
			t.Errorf("philox(0) = %#x, want %#x", u[:4], want)
		}
		for i := 0; i < 4*n; i += 4 {
			want := [4]float32{float32(u[i]>>8) * 5.9604645e-8, float32(u[i+1]), float32(int32(u[i+2])), float32(uint64(u[i+3]) << 20)}
			if [4]float32(f[i:]) != want {
				t.Errorf("%d: %v, want %v", i, f[i:i+4], want)
			}
		}
	})
}

func TestIntegers(t *testing.T) {
	m := parseFile(t, "probe.ptx")
	roads(t, m, func(t *testing.T, o Options) {
		d := &device{t: t}
		const n = 96
		mask := make([]byte, n)
		set := uint32(0)
		for i := range mask {
			mask[i] = byte(i % 3 / 2)
			set += uint32(mask[i])
		}
		a := probeArgs{Cnt: d.alloc(48 * n), Out: d.bytes(make([]byte, 4)), Mask: d.bytes(mask), T: 11, B: 1 << 29, Seed: 0x123456789abcdef0}
		if _, err := m.Kernel("integers").Run(&d.Memory, [3]int{3, 1, 1}, [3]int{32, 1, 1}, 0, a.bytes(), o); err != nil {
			t.Fatal(err)
		}
		if c := d.readWords(a.Out, 1)[0]; c != set {
			t.Errorf("the atomic counted %d, want %d", c, set)
		}
		got := d.readWords(a.Cnt, 12*n)
		for i := range n {
			v := int32(i*7 - 50)
			var ballot, anyBit, all uint32
			all = 2
			for l := range 32 {
				w := int32((i/32*32+l)*7 - 50)
				if w > 0 {
					ballot |= 1 << l
				}
				if w > 120 {
					anyBit = 1
				}
				if w <= -51 {
					all = 0
				}
			}
			want := [12]uint32{
				uint32(v / 11), uint32(v % 11), uint32(v) / 11, uint32(max(v, -v) + min(v, 11)),
				uint32(bits.OnesCount32(uint32(v)) + 64*bits.LeadingZeros32(uint32(v)|1)),
				uint32(int64(v) * (1 << 29) >> 32), uint32(a.Seed * uint64(i) >> 40), uint32(int64(a.Seed+uint64(i)) % 12),
				ballot, anyBit + all, bits.Reverse32(uint32(v)) ^ bits.ReverseBytes32(uint32(v)), uint32(v)<<(i&31) | uint32(v)>>(i&31),
			}
			if [12]uint32(got[12*i:]) != want {
				t.Errorf("%d: %#x, want %#x", i, got[12*i:12*i+12], want)
			}
		}
	})
}

func TestFloats(t *testing.T) {
	m := parseFile(t, "probe.ptx")
	roads(t, m, func(t *testing.T, o Options) {
		d := &device{t: t}
		const n = 40
		var v, z []float32
		var dd []byte
		for i := range n {
			for j := range 4 {
				v = append(v, 9*noise(4*i+j))
			}
			z = append(z, 3*noise(i+500), noise(i+900))
			dd = binary.LittleEndian.AppendUint64(dd, math.Float64bits(float64(noise(i))*1e6))
		}
		a := probeArgs{V: d.floats(v...), Z: d.floats(z...), DD: d.bytes(dd), Out: d.alloc(32 * n), T: 13, Eps: 3}
		if _, err := m.Kernel("floats").Run(&d.Memory, [3]int{1, 1, 1}, [3]int{n, 1, 1}, 0, a.bytes(), o); err != nil {
			t.Fatal(err)
		}
		got, swapped := d.readFloats(a.Out, 8*n), d.readFloats(a.Z, 2*n)
		for i := range n {
			x, y, zz, w, z0, z1 := v[4*i], v[4*i+1], v[4*i+2], v[4*i+3], z[2*i], z[2*i+1]
			low := min(max(x, y), z0)
			dv := math.FMA(math.Float64frombits(binary.LittleEndian.Uint64(dd[8*i:])), float64(low), 1)
			s := zz*5 + zz*float32(i&7)
			switch i % 5 {
			case 0:
				s++
			case 1:
				s = -s
			case 2:
				s *= w
			case 3:
				s = z1
			}
			want := [8]float32{
				fma32(float32(math.RoundToEven(float64(y))), 100, float32(math.Floor(float64(x)))), float32(int32(zz)), float32(uint32(w * w)),
				float32(int64(dv)), low, s, float32(dv / 3), float32(math.Sqrt(float64(z0*z0))) / 3,
			}
			for j, u := range want {
				if g := got[8*i+j]; math.Abs(float64(g-u)) > 1e-6*math.Abs(float64(u)) {
					t.Errorf("%d: o[%d] = %v, want %v", i, j, g, u)
				}
			}
			var b [8]byte
			if err := d.Read(b[:], a.DD+uint64(8*i)); err != nil {
				t.Fatal(err)
			}
			if g := math.Float64frombits(binary.LittleEndian.Uint64(b[:])); g != math.Abs(dv) {
				t.Errorf("%d: d = %v, want %v", i, g, math.Abs(dv))
			}
			if swapped[2*i] != z1 || swapped[2*i+1] != z0 {
				t.Errorf("%d: z = %v, want swapped %v", i, swapped[2*i:2*i+2], z[2*i:2*i+2])
			}
		}
	})
}
