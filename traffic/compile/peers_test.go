package compile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
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
			// What cannot be said: every one is changed.
			add(flows.TCP, v, port, with(up(flows.Retransmission, 10), up(flows.KeepAlive, 9), up(flows.Push, 0), up(flows.Ack, 7), up(flows.Fin, 0), up(flows.Push, 10), up(flows.Fin, 0), up(flows.Fin, 1000), up(flows.Retransmission, 1<<20))...)
			add(flows.TCP, v, port, up(flows.Push, 10), up(flows.Syn, 0), up(flows.KeepAlive, 0), down(flows.KeepAlive, 1))
		}
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
	return strings.HasPrefix(kind, "note: ") || kind == "warning: Connection reset (RST)" || kind == "warning: No response seen to ICMP request"
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
