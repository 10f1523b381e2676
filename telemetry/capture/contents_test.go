package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/telemetry/capture"
	"github.com/planegym/planegym/telemetry/intreport"
)

// packet is a frame and when it was captured.
type packet struct {
	at   time.Time
	data []byte
}

// save writes packets as a capture, less the last cut bytes.
func save(t *testing.T, cut int, packets ...packet) string {
	t.Helper()
	var b bytes.Buffer
	w, err := pcap.NewWriter(&b, pcap.Ethernet)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.Write(p.at, p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "c.pcap")
	if err := os.WriteFile(name, b.Bytes()[:b.Len()-cut], 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// hop is what a switch of the testbed says: times in ms of its clock.
func hop(id, depth, deq uint32, waitUS, ms uint64) intreport.Hop {
	const all = intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime | intreport.HasWait
	return intreport.Hop{Has: all, Switch: id, Ingress: 1, Egress: 2, EgressSpec: 2, Depth: depth, DeqDepth: deq, Wait: 1000 * waitUS, IngressTime: 1e6 * ms, EnqTime: 1e6 * ms, EgressTime: 1e6*ms + 1000*waitUS, Wrap: 1000 << 48}
}

// probe is a frame with the hops in the order of the path.
func probe(t *testing.T, hops ...intreport.Hop) []byte {
	t.Helper()
	b, err := intreport.AppendProbeFrame(nil, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), &intreport.Report{Format: intreport.Probe, Hops: hops})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// datagram puts a report into UDP, IPv4 and Ethernet.
func datagram(port uint16, payload []byte) []byte {
	b := append(make([]byte, 12), 8, 0, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(28+len(payload)))
	b = append(b, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
	b = binary.BigEndian.AppendUint16(append(b, 0x30, 0x39), port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// report is a telemetry report as a switch sends it.
func report(t *testing.T, f intreport.Format, node, seq uint32, hops ...intreport.Hop) []byte {
	t.Helper()
	b, err := intreport.Append(nil, intreport.Config{}, &intreport.Report{Format: f, Node: node, Seq: seq, SeqBits: 32, Tracked: true, Hops: hops})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// after is a time in ms after start.
func after(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// few is a hop of a report, without times of its queue.
func few(id, depth uint32) intreport.Hop {
	return intreport.Hop{Has: intreport.HasSwitch | intreport.HasQueue | intreport.HasIngressTime, Switch: id, Depth: depth, Queue: 1, IngressTime: 5}
}

// mixed is a capture of two good probes, one of 1970; an empty frame; two probes
// that announce more hops than they hold; three v2.0 reports, the second of which
// calls itself version 1; and a v1.0 report, whole and cut within its stack.
func mixed(t *testing.T) string {
	good := probe(t, hop(1, 5, 6, 700, 1000), hop(2, 1, 2, 3, 1001))
	bad := bytes.Clone(good)
	bad[34], bad[35] = 0, 9
	v20, next := report(t, intreport.V20, 7, 1, few(7, 9)), report(t, intreport.V20, 7, 2, few(7, 4))
	one := bytes.Clone(next)
	one[0] = one[0]&0x0f | 0x10
	v10 := report(t, intreport.V10, 8, 5, few(7, 9), few(8, 1))
	return save(
		t, 0, packet{after(20), good}, packet{after(10), make([]byte, 60)}, packet{after(20), bad}, packet{after(30), bad}, packet{after(0), datagram(9555, v20)},
		packet{after(50), datagram(9555, one)}, packet{after(60), datagram(9555, v10)}, packet{after(60), datagram(9555, v10[:len(v10)-4])}, packet{time.Unix(1000, 0), good},
	)
}

// All that a capture says of itself, whole.
func TestContents(t *testing.T) {
	name := mixed(t)
	f, err := capture.Open(name, intreport.Config{Port: 9555})
	if err != nil {
		t.Fatal(err)
	}
	warnings := []string{
		name + ": packet 3: intreport: probe: byte 34: count: 9: want at most 2, the hops that are there",
		"… and 1 more",
		"1 reports hold a packet that was cut within its INT stack: the hops before are kept",
		"1 packets were captured before 2000 or after 2100, as their times say",
	}
	if got := f.Warnings(); !slices.Equal(got, warnings) {
		t.Errorf("warnings %q, want %q", got, warnings)
	}
	if ids, once := f.Switches(); !slices.Equal(ids, []uint32{1, 2, 7, 8}) || once != nil {
		t.Errorf("switches %v, once %v", ids, once)
	}
	s, err := f.Summarise([]uint32{1, 7, 9})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := s.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := name + `: 6 reports in 60ms
  probe: 2
  report v1.0: 2
  report v2.0: 2
  switch 1: 2 hops
  switch 7: 3 hops
  switch 9: 0 hops
  node 7: 2 received, 0 lost, 0 reordered, 0 with a number again, 0 restarts
  node 8: 2 received, 0 lost, 0 reordered, 1 with a number again, 0 restarts
  other packets: 1
  departures from the specification: version_one
`
	if got := text.String(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	j := s.JSON()
	got := fmt.Sprint(j["file"], " ", j["first"], " ", j["last"], " ", j["reports"], j["formats"], j["hops"], j["foreign"], j["malformed"], j["cut"], j["cut_stacks"], j["clock_faults"])
	if want := fmt.Sprint(name, " ", after(0).UTC(), " ", after(60).UTC(), " ", 6, map[string]int{"probe": 2, "report v1.0": 2, "report v2.0": 2}, map[uint32]int{1: 2, 2: 2, 7: 3, 8: 2}, 1, 2, (*pcap.CutError)(nil), 1, map[uint32]string{}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// Lines in the file's order, none earlier than the one before; that of 1970 has none.
	var log strings.Builder
	notes, err := f.WriteLog(&log, []uint32{1, 2, 7, 8})
	const never = "never measured: deq_timedelta3 deq_qdepth3 deq_timedelta4 deq_qdepth4"
	if err != nil || !slices.Equal(notes, []string{never}) {
		t.Errorf("%q, %v", notes, err)
	}
	want = `timestamp,enq_qdepth1,deq_timedelta1,deq_qdepth1,enq_qdepth2,deq_timedelta2,deq_qdepth2,enq_qdepth3,deq_timedelta3,deq_qdepth3,enq_qdepth4,deq_timedelta4,deq_qdepth4
1704067200.020000,5,700,6,1,3,2,,,,,,
1704067200.020000,,,,,,,9,,,,,
1704067200.050000,,,,,,,4,,,,,
1704067200.060000,,,,,,,9,,,1,,
1704067200.060000,,,,,,,,,,1,,
`
	if got := log.String(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	calls := 0
	stop := errors.New("enough")
	if err := f.Each(func(time.Time, *intreport.Report) error {
		if calls++; calls == 3 {
			return stop
		}
		return nil
	}); err != stop || calls != 3 {
		t.Errorf("%v after %d reports", err, calls)
	}
}

// A clean capture has nothing to warn of: no counts of 0.
func TestCleanContents(t *testing.T) {
	name := save(t, 0, packet{after(0), probe(t, hop(3, 1, 2, 3, 4))})
	f, err := capture.Open(name, intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Summarise(nil)
	if err != nil {
		t.Fatal(err)
	}
	var text, log strings.Builder
	if err := s.WriteText(&text); err != nil || text.String() != name+": 1 reports in 0s\n  probe: 1\n  switch 0: 0 hops\n" {
		t.Errorf("%v\n%s", err, text.String())
	}
	if s, err = f.Summarise([]uint32{3}); err != nil {
		t.Fatal(err)
	}
	text.Reset()
	if err := s.WriteText(&text); err != nil || text.String() != name+": 1 reports in 0s\n  probe: 1\n  switch 3: 1 hop, seen once\n" {
		t.Errorf("%v\n%s", err, text.String())
	}
	if notes, err := f.WriteLog(&log, []uint32{3}); notes != nil || err != nil || log.String() != "timestamp,enq_qdepth1,deq_timedelta1,deq_qdepth1\n1704067200.000000,1,3,2\n" {
		t.Errorf("%q, %v\n%s", notes, err, log.String())
	}
	if w := f.Warnings(); w != nil {
		t.Errorf("warnings %q", w)
	}
}

// A depth that no queue has is not measured, and said so.
func TestImpossibleDepths(t *testing.T) {
	deep := few(7, 1<<20)
	name := save(t, 0, packet{after(0), datagram(9555, report(t, intreport.V20, 7, 1, deep))}, packet{after(1), datagram(9555, report(t, intreport.V20, 7, 2, few(7, 3)))})
	f, err := capture.Open(name, intreport.Config{Port: 9555})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	notes, err := f.WriteLog(&log, []uint32{7})
	if want := "timestamp,enq_qdepth1,deq_timedelta1,deq_qdepth1\n1704067200.001000,3,,\n"; err != nil || log.String() != want {
		t.Errorf("%v\n%s", err, log.String())
	}
	if len(notes) != 2 || !strings.HasPrefix(notes[0], "not measured: "+name+": ") || !strings.HasSuffix(notes[0], "(1 of 2, 50 %)") || !strings.Contains(notes[0], "enq_qdepth1") || notes[1] != "never measured: deq_timedelta1 deq_qdepth1" {
		t.Errorf("%q", notes)
	}
	s, err := f.Summarise([]uint32{7})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := s.WriteText(&text); err != nil || !strings.Contains(text.String(), "\n  not measured: ") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// Reports that say nothing of a queue make no line: the error counts them.
func TestLogOfNothing(t *testing.T) {
	name := save(t, 0, packet{after(0), probe(t, hop(1, 1, 2, 3, 4))}, packet{after(1), probe(t, hop(1, 1, 2, 3, 5))})
	f, err := capture.Open(name, intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := name + ": none of 2 reports says anything of a queue of switches [0 9]"
	var log strings.Builder
	if notes, err := f.WriteLog(&log, []uint32{0, 9}); notes != nil || err == nil || err.Error() != want {
		t.Errorf("%q, %v, want %s", notes, err, want)
	}
}

// A switch that was seen once, where another was ten times, is a stray id.
func TestSeenOnce(t *testing.T) {
	for n, want := range map[int]string{9: "[1 2] []", 10: "[1] [2]", 11: "[1] [2]"} {
		packets := []packet{{after(0), probe(t, hop(2, 1, 1, 1, 1))}}
		for i := range n {
			packets = append(packets, packet{after(i), probe(t, hop(1, 1, 1, 1, uint64(i)))})
		}
		f, err := capture.Open(save(t, 0, packets...), intreport.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ids, once := f.Switches()
		if got := fmt.Sprint(ids, " ", once); got != want {
			t.Errorf("%d to 1: %s, want %s", n, got, want)
		}
	}
}

// A clock that goes a thousand times too slowly, or not at all, is named with
// what to set; one that goes right is not.
func TestClocks(t *testing.T) {
	var packets []packet
	for i := range 10 {
		right, slow, still := hop(1, 1, 1, 0, uint64(300*i)), hop(2, 1, 1, 0, 0), hop(3, 1, 1, 0, 77)
		slow.EgressTime = uint64(300 * 1000 * i)
		packets = append(packets, packet{after(300 * i), probe(t, right, slow, still)})
	}
	f, err := capture.Open(save(t, 0, packets...), intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"switch 2: its times go 1000 times too slowly: set tick_ns = 1000 (--tick 1µs), their unit",
		"switch 3: its times stand still: set no_times = true (--no-times), and reports are put where they come in",
	}
	if got := f.Warnings(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s, err := f.Summarise([]uint32{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	faults, _ := s.JSON()["clock_faults"].(map[uint32]string)
	if len(faults) != 2 || "switch 2: "+faults[2] != want[0] || "switch 3: "+faults[3] != want[1] {
		t.Errorf("%v", faults)
	}
}

// A collector takes 16 switches: of more the first are summarised.
func TestSixteenSwitches(t *testing.T) {
	f, err := capture.Open(save(t, 0, packet{after(0), probe(t, hop(1, 1, 1, 1, 1))}), intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for id := range uint32(18) {
		ids = append(ids, id+1)
		s, err := f.Summarise(ids)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := s.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Count(text.String(), "  switch "), min(len(ids), 16); got != want {
			t.Errorf("of %d switches %d are summarised, want %d", len(ids), got, want)
		}
	}
}

// Without a report the error says what was there instead.
func TestNoReports(t *testing.T) {
	foreign, bad := packet{after(0), make([]byte, 60)}, packet{after(1), probe(t, hop(1, 1, 1, 1, 1))}
	bad.data[34], bad.data[35] = 0, 9
	for _, c := range []struct {
		port    uint16
		cut     int
		packets []packet
		want    string // after the name
	}{
		{0, 0, []packet{foreign, foreign}, ": none of 2 packets is a probe or, for certain, a telemetry report: --port says where reports go"},
		{1, 0, []packet{foreign, foreign}, ": none of 2 packets is a probe or goes to UDP port 1"},
		{9555, 0, nil, ": none of 0 packets is a probe or goes to UDP port 9555"},
		{0, 0, []packet{foreign, bad, foreign, bad}, ": packet 2: intreport: probe: byte 34: count: 9: want at most 1, the hops that are there"},
		{0, 1, []packet{foreign, foreign}, ": none of 1 packets is a probe or, for certain, a telemetry report: --port says where reports go"},
	} {
		name := save(t, c.cut, c.packets...)
		if _, err := capture.Open(name, intreport.Config{Port: c.port}); err == nil || err.Error() != name+c.want {
			t.Errorf("%v, want %s%s", err, name, c.want)
		}
	}
	var cut *pcap.CutError
	if _, err := capture.Open(save(t, 1, foreign), intreport.Config{}); !errors.As(err, &cut) || cut.Packets != 0 {
		t.Errorf("cut within its first packet: %v", err)
	}
	if _, err := capture.Open(save(t, 0, foreign), intreport.Config{Tick: -1}); err == nil || !strings.Contains(err.Error(), "tick") {
		t.Errorf("a negative tick: %v", err)
	}
	if _, err := capture.Open(filepath.Join(t.TempDir(), "none"), intreport.Config{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// One wrong packet is not "and more"; a hop without a switch is not switch 0's;
// one column that was never measured is named.
func TestOneOfEach(t *testing.T) {
	bad := probe(t, hop(1, 1, 1, 1, 1))
	bad[34], bad[35] = 0, 9
	timed := few(7, 9)
	timed.Has |= intreport.HasLatency
	timed.Latency = 3000
	timed.IngressTime = 0
	timed.Has &^= intreport.HasIngressTime
	nameless := intreport.Hop{Has: intreport.HasQueue, Depth: 5, Queue: 1}
	name := save(t, 0, packet{after(0), bad}, packet{after(1), datagram(9555, report(t, intreport.V20, 7, 1, nameless, timed))})
	f, err := capture.Open(name, intreport.Config{Port: 9555})
	if err != nil {
		t.Fatal(err)
	}
	if w := f.Warnings(); len(w) != 1 || !strings.Contains(w[0], "packet 1: ") {
		t.Errorf("warnings %q", w)
	}
	if ids, _ := f.Switches(); !slices.Equal(ids, []uint32{7}) {
		t.Errorf("switches %v", ids)
	}
	var log strings.Builder
	notes, err := f.WriteLog(&log, []uint32{7})
	if err != nil || !slices.Equal(notes, []string{"never measured: deq_qdepth1"}) || log.String() != "timestamp,enq_qdepth1,deq_timedelta1,deq_qdepth1\n1704067200.001000,9,3,\n" {
		t.Errorf("%q, %v\n%s", notes, err, log.String())
	}
	log.Reset()
	if _, err := f.WriteLog(&log, []uint32{7, 0}); err != nil || !strings.Contains(log.String(), ",9,3,,,,\n") {
		t.Errorf("a hop without a switch: %v\n%s", err, log.String())
	}
}
