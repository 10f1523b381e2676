package ptxvm

import "testing"

func BenchmarkGRU(b *testing.B) {
	const T, B, H = 24, 32, 24
	m := parseFile(b, "probe.ptx")
	d := &device{t: b}
	w := make([]float32, H*72)
	for i := range w {
		w[i] = noise(i)
	}
	a := probeArgs{X: d.floats(make([]float32, T*B)...), W: d.floats(w...), H: d.alloc(T * B * H * 4), T: T, B: B, I: 1}
	var total Stats
	for b.Loop() {
		s, err := m.Kernel("gru").Run(&d.Memory, [3]int{B / 8, 1, 1}, [3]int{8 * H, 1, 1}, (72*H+8*H)*4, a.bytes(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		total.Add(s)
	}
	b.ReportMetric(float64(total.Instructions)/b.Elapsed().Seconds()/1e6, "M-lane-instr/s")
}
