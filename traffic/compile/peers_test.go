package compile

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/bundled"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/packet"
)

// peer is a program that checks what is compiled; the test is skipped where it
// is not installed.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, errs.String())
	}
	return out.String()
}

func file(t *testing.T, capture []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "compiled.pcap")
	if err := os.WriteFile(path, capture, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// odd is sessions that no capture has, or few.
func odd() *traffic.Set {
	s := &traffic.Set{Of: flows.Schema(nil)}
	add := func(proto, version, port int, a ...flows.Action) {
		for profile := range flows.Profiles {
			x := traffic.Session{Label: -1, Start: float64(len(s.Sessions)) * .01, Meta: []float64{float64(proto), float64(version), float64(port), 3, 3, float64(profile), 1, 2}}
			for _, a := range a {
				if a.Gap == 0 {
					a.Gap = .02
				}
				x.Steps = a.Append(x.Steps)
			}
			s.Sessions = append(s.Sessions, x)
			if proto != flows.TCP {
				break
			}
		}
	}
	up := func(f flows.Flag, size int) flows.Action { return flows.Action{Size: size, Flags: f} }
	down := func(f flows.Flag, size int) flows.Action { return flows.Action{Down: true, Size: size, Flags: f} }
	open := []flows.Action{up(flows.Syn, 0), down(flows.Syn, 0), up(flows.Ack, 0)}
	with := func(a ...flows.Action) []flows.Action { return append(slices.Clone(open), a...) }
	for _, v := range []int{0, 1} {
		for _, port := range []int{443, 80, 22, 4999, 40001} {
			add(flows.TCP, v, port) // no packet
			add(flows.TCP, v, port, up(flows.Push, 100))
			add(flows.TCP, v, port, up(flows.Syn, 0))
			add(flows.TCP, v, port, up(flows.Syn, 0), flows.Action{Flags: flows.Syn, Gap: 1}, flows.Action{Flags: flows.Syn, Gap: 2})
			add(flows.TCP, v, port, up(flows.Reset, 0))
			add(flows.TCP, v, port, up(flows.Syn, 0), down(flows.Reset, 0))
			add(flows.TCP, v, port, down(flows.Syn, 0), up(flows.Ack, 0), up(flows.Push, 10))
			add(flows.TCP, v, port, with(up(flows.Push, 64<<10), down(flows.Push, 64<<10), up(flows.Fin, 0), down(flows.Fin, 0), up(flows.Ack, 0))...)
			add(flows.TCP, v, port, with(up(flows.Push, 1), down(flows.Push, 1), up(flows.Push, 2), down(flows.Push, 5), up(flows.Push, 6), down(flows.Push, 7), up(flows.Push, 17), down(flows.Push, 37), up(flows.Push, 18), down(flows.Push, 38), up(flows.Push, 50), down(flows.Push, 139), down(flows.Push, 1460))...)
			add(flows.TCP, v, port, with(up(flows.Data, 1400), up(flows.Data, 1400), up(flows.Push, 800), down(flows.Ack, 0), up(flows.Retransmission, 1400), up(flows.Retransmission, 1), up(flows.KeepAlive, 0), up(flows.KeepAlive, 1), down(flows.Ack, 0), up(flows.Reset, 0), up(flows.Reset, 0))...)
			add(flows.TCP, v, port, with(up(flows.Fin, 100), up(flows.Fin, 100), down(flows.Push, 100), down(flows.Fin, 0), down(flows.Fin, 0), up(flows.Ack, 0), up(flows.KeepAlive, 0))...)
			add(flows.TCP, v, port, up(flows.Syn, 50), down(flows.Syn, 0), up(flows.Ack, 0))
			add(flows.TCP, v, port, with(down(flows.Push, 500), down(flows.Push, 500), down(flows.Push, 500))...)
			// As learned models say it: a reset with bytes, and its side goes on.
			add(flows.TCP, v, port, with(up(flows.Push, 20), down(flows.Reset, 26), flows.Action{Down: true, Size: 7, Flags: flows.Push, Gap: 1e-4}, up(flows.Push, 6), up(flows.Reset, 1), down(flows.Push, 6), up(flows.Data, 1), up(flows.Reset, 9), up(flows.Reset, 9), down(flows.Push, 4))...)
			// What cannot be said: every one is changed.
			add(flows.TCP, v, port, with(up(flows.Retransmission, 10), up(flows.KeepAlive, 9), up(flows.Push, 0), up(flows.Ack, 7), up(flows.Fin, 0), up(flows.Push, 10), up(flows.Fin, 0), up(flows.Fin, 1000), up(flows.Retransmission, 1<<20))...)
			add(flows.TCP, v, port, up(flows.Push, 10), up(flows.Syn, 0), up(flows.KeepAlive, 0), down(flows.KeepAlive, 1))
		}
		add(flows.TCP, v, 4342, with(up(flows.Push, 64<<10), down(flows.Push, 64<<10))...)
		for _, port := range []int{53, 5353, 443, 123, 4999, 40001, 65535} {
			for _, n := range []int{0, 1, 12, 13, 16, 17, 18, 19, 20, 29, 50, 81, 82, 83, 100, 271, 272, 275, 300, 512, 1232, 1400, 1472, 3000, 64 << 10} {
				add(flows.UDP, v, port, up(flows.Data, n), down(flows.Data, n), flows.Action{Down: true, Size: n, Gap: 1})
			}
			add(flows.UDP, v, port, down(flows.Data, 100))
			add(flows.UDP, v, port, up(flows.Push, 100))
		}
		kinds := []int{8 << 8, 3<<8 | 1, 3<<8 | 3, 11 << 8}
		if v == 1 {
			kinds = []int{128 << 8, 1<<8 | 4, 2 << 8, 3 << 8, 4 << 8}
		}
		for _, kind := range kinds {
			for _, n := range []int{0, 1, 28, 48, 56, 100, 1400, 5000} {
				add(flows.ICMP, v, kind, up(flows.Data, n), down(flows.Data, n))
			}
		}
	}
	return s
}

// What tshark says of packets, by severity and kind.
func expert(t *testing.T, path string) (kinds map[string]int, packets int) {
	t.Helper()
	out := run(t, "tshark", "-n", "-2", "-r", path, "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
		"-Y", "_ws.expert.severity >= 0x400000 or _ws.malformed", "-T", "fields", "-E", "aggregator=|", "-e", "frame.number", "-e", "_ws.expert.severity", "-e", "_ws.expert.message", "-e", "frame.protocols")
	kinds = map[string]int{}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		severity, message := strings.Split(f[1], "|"), strings.Split(f[2], "|")
		for i := range severity {
			m := message[min(i, len(message)-1)]
			if m, _, _ = strings.Cut(m, "#"); severity[i] >= "6291456" {
				kinds[map[string]string{"6291456": "warning: ", "8388608": "error: "}[severity[i]]+m]++
			} else if severity[i] == "4194304" {
				kinds["note: "+m]++
			}
		}
		for i := range severity {
			m, _, _ := strings.Cut(message[min(i, len(message)-1)], "#")
			if kind := "warning: " + m; severity[i] >= "6291456" && !allowed(kind) {
				t.Logf("frame %s: %s (%s)", f[0], f[2], f[3])
			}
		}
	}
	return kinds, len(out)
}

// allowed are the warnings that an action itself means: a reset, and a request
// that the session does not answer.
func allowed(kind string) bool {
	return strings.HasPrefix(kind, "note: ") || kind == "warning: Connection reset (RST)" || kind == "warning: No response seen to ICMP request" ||
		strings.HasPrefix(kind, "warning: No response seen to ICMPv6 request")
}

func checkExpert(t *testing.T, capture []byte) {
	t.Helper()
	kinds, _ := expert(t, file(t, capture))
	for kind, n := range kinds {
		if !allowed(kind) {
			t.Errorf("tshark: %d × %s", n, kind)
		} else {
			t.Logf("tshark: %d × %s", n, kind)
		}
	}
}

func TestTsharkOdd(t *testing.T) {
	peer(t, "tshark")
	b, r := compiled(t, odd(), Options{})
	t.Logf("%d sessions, %d actions, %d packets; %d changed: %v", r.Sessions, r.Actions, r.Packets, r.Changed, r.Why)
	checkExpert(t, b)
}

// Ten thousand sessions of the bundled n-gram, its labels in turn.
// A model may draw any type of ICMP message, and a size that its type does not have.
func TestTsharkICMP(t *testing.T) {
	peer(t, "tshark")
	s := &traffic.Set{Of: flows.Schema(nil)}
	for v := range 2 {
		for kind := range 256 {
			for _, code := range []int{0, 3, 112} {
				x := traffic.Session{Label: -1, Start: float64(len(s.Sessions)), Meta: []float64{flows.ICMP, float64(v), float64(kind<<8 | code), 3, 3, 0, 1, 2}}
				for _, n := range []int{0, 4, 8, 20, 33, 100, 128, 600} {
					x.Steps = flows.Action{Size: n, Gap: .01}.Append(x.Steps)
				}
				s.Sessions = append(s.Sessions, x)
			}
		}
	}
	capture, _ := compiled(t, s, Options{})
	checkExpert(t, capture)
}

func TestTsharkBundled(t *testing.T) {
	peer(t, "tshark")
	if testing.Short() {
		t.Skip("a hundred thousand packets: not with -short")
	}
	m, err := bundled.OpenCounts()
	if err != nil {
		t.Fatal(err)
	}
	request := traffic.Request{N: 10_000, Seed: 1}
	for l := range m.Schema().Labels {
		request.Labels = append(request.Labels, l)
	}
	s, err := traffic.Collect(m.Schema(), m.Sample(t.Context(), request))
	if err != nil {
		t.Fatal(err)
	}
	b, r := compiled(t, s, Options{})
	t.Logf("%d sessions of %d labels, %d packets, %d with no change, repair rate %.2f %%: %v", r.Sessions, len(request.Labels), r.Packets, r.Whole, 100*r.RepairRate(), r.Why)
	if r.RepairRate() > .01 {
		t.Errorf("repair rate %.2f %%", 100*r.RepairRate())
	}
	checkExpert(t, b)
}

// Every capture of nDPI's, compiled, one after another.
func TestTsharkNDPI(t *testing.T) {
	peer(t, "tshark")
	var sets []*traffic.Set
	for name, b := range sorted(ndpi(t)) {
		if s, _, err := flows.Read(bytes.NewReader(b), name, flows.Options{Label: name}); err == nil {
			sets = append(sets, s)
		}
	}
	s, err := traffic.Merge(1, sets...)
	if err != nil {
		t.Fatal(err)
	}
	b, r := compiled(t, s, Options{})
	t.Logf("%d sessions, %d packets, repair rate %.2f %%: %v", r.Sessions, r.Packets, 100*r.RepairRate(), r.Why)
	checkExpert(t, b)
}

// scapy computes every checksum anew; none changes.
func TestScapy(t *testing.T) {
	python := "/usr/bin/python3" // Debian's, for which python3-scapy is
	if exec.Command(python, "-c", "import scapy").Run() != nil {
		t.Skip("python3-scapy is not installed")
	}
	s := odd()
	for i := range s.Sessions { // scapy takes 3 ms a packet
		if i%8 != 0 {
			s.Sessions[i].Steps = nil
		}
	}
	b, r := compiled(t, s, Options{})
	out := run(t, python, "testdata/checksums.py", file(t, b))
	if want := fmt.Sprintf("%d packets, 0 differ\n", r.Packets); out != want {
		t.Errorf("scapy: %q, want %q", out, want)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := odd()
	if _, err := Write(ctx, &bytes.Buffer{}, &s.Of, func(yield func(traffic.Session, error) bool) {
		for _, x := range s.Sessions {
			if !yield(x, nil) {
				return
			}
		}
	}, Options{}); err == nil {
		t.Error("no error after cancel")
	}
}

// answers are what nDPI says of the flows of a capture, by protocol and the
// smaller port: the one that it goes by where nothing else tells.
func answers(t *testing.T, capture []byte) map[string]map[string]int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "flows.csv")
	run(t, "ndpiReader", "-q", "-i", file(t, capture), "-C", path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]int{}
	lines := strings.Split(string(text), "\n")
	head := strings.Split(strings.TrimPrefix(lines[0], "#"), ",")
	for _, line := range lines[1:] {
		row := strings.Split(line, ",")
		if len(row) < 12 {
			continue
		}
		at := func(name string) string { return row[slices.Index(head, name)] }
		from, _ := strconv.Atoi(at("src_port"))
		to, _ := strconv.Atoi(at("dst_port"))
		key := at("protocol") + " " + strconv.Itoa(min(from, to))
		if all[key] == nil {
			all[key] = map[string]int{}
		}
		all[key][at("ndpi_proto")]++
	}
	return all
}

// most is the answer that most flows get.
func most(m map[string]int) (answer string) {
	for _, a := range slices.Sorted(maps.Keys(m)) {
		if answer == "" || m[a] > m[answer] {
			answer = a
		}
	}
	return answer
}

// bare writes a capture without payload and with private addresses, those of
// capture k: all that is left to go by is ports.
func bare(t *testing.T, w *pcap.Writer, k int, capture []byte) {
	t.Helper()
	ranks := map[netip.Addr]netip.Addr{}
	private := func(a netip.Addr) netip.Addr {
		if _, ok := ranks[a]; !ok {
			n := len(ranks) + 1
			ranks[a] = netip.AddrFrom4([4]byte{10 + byte(k>>8), byte(k), byte(n >> 8), byte(n)})
			if !a.Is4() {
				ranks[a] = netip.AddrFrom16([16]byte{0xfd, 12: byte(k >> 8), 13: byte(k), 14: byte(n >> 8), 15: byte(n)})
			}
		}
		return ranks[a]
	}
	r, err := pcap.NewReader(bytes.NewReader(capture), "capture")
	if err != nil {
		t.Fatal(err)
	}
	for p, n := (pcap.Packet{}), 0; r.Next(&p) == nil; n++ {
		ip := p.Data
		if p.Link == pcap.Ethernet {
			if ip, _, err = packet.StripEthernet(ip); err != nil {
				continue
			}
		}
		var q packet.Packet
		if q.Decode(ip) != nil || q.Proto != packet.TCP && q.Proto != packet.UDP {
			continue
		}
		q.Src, q.Dst, q.Payload, q.Options = private(q.Src), private(q.Dst), nil, nil
		raw, err := q.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(time.Unix(int64(1e9+k*1e4), int64(n)*1e6), raw); err != nil {
			t.Fatal(err)
		}
	}
}

// Of flows without payload nDPI goes by ports: it answers for compiled ones as
// for those of the captures that they were read from. With payload it answers the
// same where a template is for the port.
func TestNDPIReader(t *testing.T) {
	peer(t, "ndpiReader")
	var captures [3]bytes.Buffer
	var w [3]*pcap.Writer
	for i := range w {
		var err error
		if w[i], err = pcap.NewWriter(&captures[i], pcap.Raw); err != nil {
			t.Fatal(err)
		}
	}
	k, moved := 0, 0
	for name, b := range sorted(ndpi(t)) {
		s, _, err := flows.Read(bytes.NewReader(b), name, flows.Options{})
		if err != nil {
			continue
		}
		c, r := compiled(t, s, Options{})
		if r.Why[whyMoved] > 0 {
			moved++
			continue // its ports are others
		}
		k++
		bare(t, w[0], k, b)
		bare(t, w[1], k, c)
		p, err := pcap.NewReader(bytes.NewReader(c), name)
		if err != nil {
			t.Fatal(err)
		}
		for q := (pcap.Packet{}); p.Next(&q) == nil; {
			ip, _, _ := packet.StripEthernet(q.Data)
			if err := w[2].Write(q.Time.Add(time.Duration(k)*1e4*time.Second), ip); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got [3]map[string]map[string]int
	for i := range w {
		if err := w[i].Flush(); err != nil {
			t.Fatal(err)
		}
		got[i] = answers(t, captures[i].Bytes())
	}
	keys, differ := 0, 0
	for _, key := range slices.Sorted(maps.Keys(got[1])) {
		if got[0][key] == nil {
			continue
		}
		keys++
		if most(got[0][key]) != most(got[1][key]) {
			differ++
			t.Logf("%s: of the source %v, compiled %v", key, got[0][key], got[1][key])
		}
	}
	t.Logf("%d protocols and ports of %d captures, %d answers differ; %d captures have a port that moved", keys, k, differ, moved)
	for _, c := range []struct{ key, want string }{{"6 443", "TLS"}, {"6 80", "HTTP"}, {"17 53", "DNS"}} {
		all := 0
		for _, n := range got[2][c.key] {
			all += n
		}
		t.Logf("%s with payload: %v", c.key, got[2][c.key])
		if n := got[2][c.key][c.want]; all < 20 || n < all*95/100 {
			t.Errorf("%s: nDPI says %v, want %s", c.key, got[2][c.key], c.want)
		}
	}
	if differ > 0 || keys < 45 {
		t.Errorf("%d of %d answers differ", differ, keys)
	}
}
