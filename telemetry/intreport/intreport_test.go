package intreport_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

var update = flag.Bool("update", false, "rewrite golden files")

// readHex reads hexadecimal digits between blanks and comments.
func readHex(t testing.TB, path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		for f := range strings.FieldsSeq(line) {
			digits.WriteString(f)
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

func decoder(t testing.TB, cfg intreport.Config) *intreport.Decoder {
	d, err := intreport.NewDecoder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// all decodes b as what the name says, and copies what comes.
func all(d *intreport.Decoder, decode func([]byte, func(*intreport.Report)) error, b []byte) ([]intreport.Report, error) {
	var got []intreport.Report
	err := decode(b, func(r *intreport.Report) {
		c := *r
		c.Hops = slices.Clone(r.Hops)
		got = append(got, c)
	})
	return got, err
}

// probeFrame puts what follows the IP header of a probe into a frame.
func probeFrame(probe []byte) []byte {
	head, _ := hex.DecodeString("020000000002" + "020000000001" + "0800" + "45000000000040004" + "0fd0000" + "0a000001" + "0a000002")
	b := append(head, probe...)
	b[16], b[17] = byte((len(b)-14)>>8), byte(len(b)-14)
	return b
}

// TestGolden decodes the worked examples of the specifications and what is
// known of the field. Each vector names its source.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) != 14 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".hex")
		t.Run(name, func(t *testing.T) {
			b := readHex(t, file)
			d := decoder(t, intreport.Config{})
			decode := d.Report
			if name == "probe" {
				decode, b = d.Frame, probeFrame(b)
			}
			got, err := all(d, decode, b)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.MarshalIndent(got, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, '\n')
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(text, want) {
				t.Errorf("got\n%swant\n%s", text, want)
			}
			// Cut anywhere, it is an error or tells less, and never panics.
			for n := range b {
				all(d, decode, b[:n:n])
			}
		})
	}
}

// TestMarks: INT is where DSCP, port or marker say, and nowhere else.
func TestMarks(t *testing.T) {
	hops := func(file string, cfg intreport.Config) int {
		d := decoder(t, cfg)
		got, err := all(d, d.Report, readHex(t, "testdata/"+file+".hex"))
		if err != nil {
			t.Fatalf("%s %+v: %v", file, cfg, err)
		}
		return len(got[0].Hops)
	}
	for _, c := range []struct {
		file string
		cfg  intreport.Config
		want int
	}{
		{"v20_md_over_tcp", intreport.Config{DSCP: 0x17}, 2},
		{"v20_md_over_tcp", intreport.Config{DSCP: 0x18}, 0},
		{"v20_md_over_tcp", intreport.Config{INTPort: 0x50}, 0}, // TCP's port is none
		{"v20_md_vxlan", intreport.Config{INTPort: 5016}, 3},
		{"v20_md_vxlan", intreport.Config{INTPort: 5017}, 0},
		{"v20_md_gpe", intreport.Config{INTPort: 5017}, 2},
		{"v10_wide", intreport.Config{DSCP: 0x20}, 2},
	} {
		if got := hops(c.file, c.cfg); got != c.want {
			t.Errorf("%s, %+v: %d hops, want %d", c.file, c.cfg, got, c.want)
		}
	}
}

// TestRealReports decodes three reports of three BMv2 switches in line.
func TestRealReports(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set")
	}
	for i, want := range []intreport.Hop{
		{Switch: 1, Egress: 3, Egress2: 3, Latency: 45190197},
		{Switch: 2, Egress: 3, Egress2: 3, Latency: 44944418},
		{Switch: 3, Egress: 4, Egress2: 4, Latency: 44558023},
	} {
		b, err := os.ReadFile(filepath.Join(dir, "int", "int_mx_report_s"+string(rune('1'+i))+".pcap"))
		if err != nil {
			t.Fatal(err)
		}
		d := decoder(t, intreport.Config{Tick: time.Microsecond, DSCP: 0x17, Port: 1234})
		got, err := all(d, d.Frame, b[40:]) // the file's header and the packet's
		if err != nil || len(got) != 1 || len(got[0].Hops) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		r := got[0]
		want.Has = intreport.HasSwitch | intreport.HasPorts | intreport.HasLatency | intreport.HasQueue |
			intreport.HasIngressTime | intreport.HasEgressTime | intreport.HasPorts2 | intreport.HasUtil
		want.Latency *= 1000
		want.EgressTime = want.Latency // its ingress time is 0
		quirks := intreport.VersionOne | intreport.NoLength | intreport.EtherAsIP | intreport.StackInMX
		if r.Node != want.Switch || r.Hardware != 1 || !r.Tracked || !r.Intermediate || r.Quirks != quirks || r.Hops[0] != want {
			t.Errorf("switch %d: %+v", i+1, r)
		}
	}
}

func TestErrors(t *testing.T) {
	patch := func(file string, at int, b ...byte) []byte {
		out := readHex(t, "testdata/"+file+".hex")
		copy(out[at:], b)
		return out
	}
	mark := intreport.Config{DSCP: 0x17}
	for _, c := range []struct {
		name string
		cfg  intreport.Config
		b    []byte
		want string
	}{
		{"empty", mark, nil, "intreport: frame: byte 0: Telemetry Report header: 0: want 4 bytes"},
		{"version", mark, []byte{0x30, 0, 0, 0}, "byte 0: Ver: 3: want 0, 1 or 2"},
		{"v0.5 short", mark, make([]byte, 11), "report v0.5: byte 0: Telemetry Report Fixed Header: 11: want 12 bytes"},
		{"v0.5 protocol", mark, patch("v05_local", 0, 3), "byte 0: NProto: 3: want 0, 1 or 2"},
		{"v0.5 local short", mark, patch("v05_local", 0)[:27], "byte 12: Telemetry Switch Local Report Header: 15: want 16 bytes"},
		{"v1.0 length", mark, patch("v10_tcp", 0, 0x1b), "report v1.0: byte 0: Length: 11: want 10, as RepMdBits say"},
		{"v1.0 short", mark, patch("v10_tcp", 0)[:39], "byte 0: Telemetry Report Header: 39: want 40 bytes"},
		{"v2.0 length", mark, patch("v20_baseline", 9, 60), "report v2.0: byte 8: Report Length: 60: want 244 bytes"},
		{"v2.0 metadata", mark, patch("v20_baseline", 10, 1), "byte 8: MD Length: 1: want at least 2, as RepMdBits say"},
		{"v2.0 metadata short", mark, patch("v20_baseline", 10, 60), "byte 20: MD Length: 48: want 240 bytes"},
		{"v2.0 IOAM", mark, patch("v20_baseline", 8, 0x24), "byte 8: RepType: 2: want 0 or 1: IOAM is not decoded"},
		{"v2.0 inner", mark, patch("v20_baseline", 8, 0x16), "byte 8: InType: 6: want 0 to 5"},
		{"TLV", mark, patch("v20_tlv", 41, 40), "byte 40: TLVLength: 44: want 164 bytes"},
		{"INT type", mark, patch("v20_md_over_tcp", 64, 0x40), "byte 64: Type: 4: want 1 (MD) or 3 (MX)"},
		{"INT length", mark, patch("v20_md_over_tcp", 65, 8), "byte 68: Length: 32: want hops of 8 bytes after the header's"},
		{"INT version", mark, patch("v20_md_over_tcp", 68, 0x10), "byte 68: Ver: 1: want 1 after a shim of v1.0, 2 after one of v2.1"},
		{"hop length", mark, patch("v20_md_over_tcp", 70, 3), "byte 68: Hop ML: 3: want 2, as the Instruction Bitmap says"},
		{"half a hop", mark, patch("v20_md_over_tcp", 65, 6), "byte 68: Length: 24: want hops of 8 bytes after the 12 of the header"},
		{"v1.0 hop length", mark, patch("v10_tcp", 86, 5), "byte 84: Hop ML: 5: want 2, as the Instruction Bitmap says"},
	} {
		d := decoder(t, c.cfg)
		_, err := all(d, d.Report, c.b)
		var typed *intreport.Error
		if !errors.As(err, &typed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	d := decoder(t, intreport.Config{Port: 1234})
	for _, b := range [][]byte{nil, make([]byte, 60), probeFrame(nil)[:30]} {
		if _, err := all(d, d.Frame, b); !errors.Is(err, intreport.ErrForeign) {
			t.Errorf("% x: %v", b, err)
		}
	}
	if _, err := all(d, d.Frame, probeFrame([]byte{0, 2, 1})); err == nil || !strings.Contains(err.Error(), "probe: byte 34: count: 2: want at most 0") {
		t.Errorf("%v", err)
	}
	// One wrong report does not stop the next.
	b := patch("v20_md_over_tcp", 68, 0x30)
	d = decoder(t, mark)
	if got, err := all(d, d.Report, b); err == nil || len(got) != 1 || got[0].Hops[0].Depth != 0x11 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, cfg := range []intreport.Config{{Tick: -1}, {Tick: time.Minute}, {DSCP: 64}} {
		if _, err := intreport.NewDecoder(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

// reports are of every format.
func reports() []intreport.Report {
	stack := []intreport.Hop{
		{Has: intreport.HasSwitch | intreport.HasQueue | intreport.HasLatency, Switch: 1, Queue: 1, Depth: 63, Latency: 5000},
		{Has: intreport.HasSwitch | intreport.HasLatency, Switch: 2, Latency: 7000},
	}
	local := intreport.Hop{
		Has:    intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime,
		Switch: 3, Ingress: 1, Egress: 2, Depth: 5, IngressTime: 1000, EgressTime: 60000,
	}
	narrow := local
	narrow.Wrap = 1 << 32 * 1000
	narrowStack := slices.Clone(stack)
	for i := range narrowStack {
		narrowStack[i].Wrap = 1 << 32 * 1000
	}
	wide := local
	wide.Has |= intreport.HasPorts2 | intreport.HasUtil | intreport.HasBuffer | intreport.HasDrop
	wide.Ingress2, wide.Egress2, wide.Util, wide.Buffer, wide.BufferUse, wide.Drop = 1<<31, 7, 99, 1, 1<<23, 8
	probe := []intreport.Hop{}
	for i := range 3 {
		probe = append(probe, intreport.Hop{
			Has:    intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime | intreport.HasWait,
			Switch: uint32(i + 1), Ingress: 1, Egress: 2, EgressSpec: 2, Depth: uint32(64 - i), DeqDepth: 3, Wait: 67000, Wrap: 1 << 48 * 1000,
			IngressTime: 123456789000, EgressTime: 123456999000, EnqTime: 999000,
		})
	}
	drop := intreport.Hop{Has: intreport.HasSwitch | intreport.HasPorts | intreport.HasIngressTime | intreport.HasDrop, Switch: 3, Ingress: 1, Queue: 2, Drop: 25, IngressTime: 1000, Wrap: narrow.Wrap}
	return []intreport.Report{
		{Format: intreport.Probe, Hops: probe},
		{Format: intreport.V05, Node: 3, Hardware: 63, Seq: 1<<32 - 1, SeqBits: 32, Congested: true, Hops: []intreport.Hop{narrow}},
		{Format: intreport.V05, Node: 3, Seq: 1, SeqBits: 32, Dropped: true, Hops: []intreport.Hop{drop}},
		{Format: intreport.V10, Node: 3, Seq: 2, SeqBits: 32, Tracked: true, Hops: []intreport.Hop{narrow}},
		{Format: intreport.V10, Node: 3, Seq: 2, SeqBits: 32, Tracked: true, HopsExceeded: true, Hops: append(narrowStack, narrow)},
		{Format: intreport.V20, Node: 3, Seq: 1<<22 - 1, SeqBits: 22, Intermediate: true, Hops: []intreport.Hop{wide}},
		{Format: intreport.V20, Node: 3, Seq: 3, SeqBits: 22, Tracked: true, MTUExceeded: true, Hops: append(slices.Clone(stack), wide)},
		{Format: intreport.V20, Node: 9, Seq: 3, SeqBits: 22, Hops: stack},
	}
}

// TestRoundTrip: what is written is read, however INT is marked.
func TestRoundTrip(t *testing.T) {
	for _, cfg := range []intreport.Config{{}, {DSCP: 1}, {INTPort: 5000}, {Marker: 1 << 40}} {
		cfg.Tick = time.Microsecond
		d := decoder(t, cfg)
		for _, r := range reports() {
			decode, b, err := d.Report, []byte("before"), error(nil)
			if r.Format == intreport.Probe {
				decode = d.Frame
				b, err = intreport.AppendProbeFrame(b, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), &r)
			} else {
				b, err = intreport.Append(b, cfg, &r)
			}
			if err != nil {
				t.Fatalf("%v: %v", r.Format, err)
			}
			got, err := all(d, decode, b[len("before"):])
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r) {
				t.Errorf("%+v\ngot %+v, %v\nwant %+v", cfg, got, err, r)
			}
		}
	}
}

func TestAppendErrors(t *testing.T) {
	change := func(i int, f func(r *intreport.Report)) *intreport.Report {
		r := reports()[i]
		r.Hops = slices.Clone(r.Hops)
		f(&r)
		return &r
	}
	for _, c := range []struct {
		r    *intreport.Report
		want string
	}{
		{&intreport.Report{}, "format: 0 is unknown"},
		{change(0, func(r *intreport.Report) { r.Hops[0].Switch = 1 << 31 }), "probe: swid: 2147483648 does not fit 31 bits"},
		{change(0, func(r *intreport.Report) { r.Hops[0].Wait = 1 }), "deq_timedelta: 1 ns is not a multiple of 1000 ns"},
		{change(0, func(r *intreport.Report) { r.Hops[0].Has |= intreport.HasUtil }), "hops: there is no place for util"},
		{change(1, func(r *intreport.Report) { r.Hops = append(r.Hops, r.Hops[0]) }), "hops: 2: a postcard has one"},
		{change(1, func(r *intreport.Report) { r.Hops[0].Has &^= intreport.HasQueue }), "hops: queue is missing"},
		{change(1, func(r *intreport.Report) { r.Node = 4 }), "node: 4 is not its hop's 3"},
		{change(4, func(r *intreport.Report) { r.Node = 4 }), "the last is not the node's own"},
		{change(5, func(r *intreport.Report) { r.Seq = 1 << 22 }), "seq: 4194304 does not fit 22 bits"},
		{change(5, func(r *intreport.Report) { r.Hops[0].Queue, r.Hops[0].Depth = 255, 1<<24-1 }), "says that it is not known"},
		{change(7, func(r *intreport.Report) {
			for range 100 {
				r.Hops = append(r.Hops, r.Hops[0])
			}
		}), "hops: 309 does not fit 8 bits"},
	} {
		b, err := intreport.Append(nil, intreport.Config{Tick: time.Microsecond}, c.r)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(b) != 0 {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if _, err := intreport.AppendProbeFrame(nil, netip.IPv6Loopback(), netip.IPv6Loopback(), &intreport.Report{Format: intreport.Probe}); err == nil {
		t.Error("a probe between IPv6 hosts")
	}
}

// TestNoAllocation: decoding allocates nothing once warm.
func TestNoAllocation(t *testing.T) {
	for _, name := range []string{"v05_local", "v10_wide", "v20_md_tcp", "v20_xd_all", "probe"} {
		d := decoder(t, intreport.Config{})
		b, decode := readHex(t, "testdata/"+name+".hex"), d.Report
		if name == "probe" {
			b, decode = probeFrame(b), d.Frame
		}
		hops := 0
		each := func(r *intreport.Report) { hops += len(r.Hops) }
		n := testing.AllocsPerRun(100, func() {
			if err := decode(b, each); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 || hops == 0 {
			t.Errorf("%s: %v allocations, %d hops", name, n, hops)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"probe", "v10_wide", "v20_md_tcp", "v20_baseline", "v05_local"} {
		b.Run(name, func(b *testing.B) {
			d := decoder(b, intreport.Config{})
			data, decode := readHex(b, "testdata/"+name+".hex"), d.Report
			if name == "probe" {
				data, decode = probeFrame(data), d.Frame
			}
			var depth uint32
			each := func(r *intreport.Report) { depth += r.Hops[0].Depth }
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(data, each); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
		})
	}
}
