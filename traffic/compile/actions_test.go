package compile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/compile"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/netflow"
	"github.com/planegym/planegym/traffic/rates"
	"github.com/planegym/planegym/traffic/store"
)

func rateSet() *traffic.Set {
	set := &traffic.Set{Of: rates.Schema([]string{"camera"}, .1)}
	for i := range 20 {
		s := traffic.Session{Start: float64(i) * 6.4, Steps: make([]float64, 2*64)}
		for t := range 64 {
			s.Steps[2*t], s.Steps[2*t+1] = float64((i*t)%7*60), float64((i+t)%5*1000)
		}
		set.Sessions = append(set.Sessions, s)
	}
	return set
}

// A series becomes a capture, whose rates are the series again, byte by byte.
func TestSeriesRoundTrip(t *testing.T) {
	set := rateSet()
	var pcap bytes.Buffer
	r, err := compile.Write(context.Background(), &pcap, &set.Of, store.All(set), compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Changed != 0 || r.Added != 0 || r.Packets != r.Actions || r.Packets == 0 {
		t.Errorf("%+v", r)
	}
	back, _, err := flows.Read(&pcap, "series.pcap", flows.Options{})
	if err != nil {
		t.Fatal(err)
	}
	start := back.Sessions[0].Start // of the first packet, on the capture's clock
	actions, err := compile.ActionSet(set)
	if err != nil {
		t.Fatal(err)
	}
	for i := range back.Sessions {
		back.Sessions[i].Start += actions.Sessions[0].Start - start + 1e-6
	}
	got, _, err := rates.Windows(back, "camera", rates.Options{Tick: .1, Ticks: 64})
	if err != nil {
		t.Fatal(err)
	}
	if got.Len() != set.Len() {
		t.Fatalf("%d series come back, there were %d", got.Len(), set.Len())
	}
	for i, s := range set.Sessions {
		for j, x := range s.Steps {
			if got.Sessions[i].Steps[j] != x {
				t.Fatalf("series %d: tick %d: %v bytes, not %v", i, j/2, got.Sessions[i].Steps[j], x)
			}
		}
	}
}

// Flow records become the packets, bytes and durations that they say.
func TestRecords(t *testing.T) {
	csv := `srcip,dstip,srcport,dstport,proto,ts,td,pkt,byt
10.0.0.1,10.0.0.2,40000,80,TCP,1000000,0.5,10,9000
10.0.0.1,10.0.0.2,40000,80,TCP,1200000,1,4,400
10.0.0.3,10.0.0.2,50000,53,UDP,1500000,0,1,60
10.0.0.4,10.0.0.2,0,0,GRE,1600000,2,3,9000
10.0.0.4,10.0.0.2,0,0,ICMP,1700000,2,2,128
`
	records, err := netflow.ReadCSV(strings.NewReader(csv), "flows.csv", netflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := compile.ActionSet(netflow.Sessions(records))
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Valid(); err != nil {
		t.Fatal(err)
	}
	reader, err := flows.NewReader(&set.Of)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ packets, bytes, lasts float64 }{
		{14, 9000 - 400 + 400 - 160, 1.2}, {1, 32, 0}, {7, 9000 - 3*28, 2}, {2, 128 - 56, 2},
	} {
		s := &set.Sessions[i]
		n, bytes, lasts := float64(reader.Len(s)), 0., 0.
		for k := range reader.Len(s) {
			a := reader.At(s, k)
			bytes, lasts = bytes+float64(a.Size), lasts+a.Gap
			if a.Down || a.Gap < 0 || a.Size > 1448 {
				t.Errorf("session %d: packet %+v", i, a)
			}
		}
		if n != want.packets || bytes != want.bytes || math.Abs(lasts-want.lasts) > 1e-9 {
			t.Errorf("session %d: %v packets, %v bytes in %v s; want %+v", i, n, bytes, lasts, want)
		}
	}
	huge := &traffic.Set{Of: rates.Schema(nil, 1), Sessions: []traffic.Session{{Label: -1, Steps: []float64{1e12, 0}}}}
	if _, err := compile.ActionSet(huge); err == nil || !strings.Contains(err.Error(), "session 0") {
		t.Errorf("a terabyte a tick: %v", err)
	}
	none := &traffic.Set{Of: traffic.Schema{Steps: []traffic.Field{{Name: "x"}}}}
	if _, err := compile.ActionSet(none); err == nil || !strings.Contains(err.Error(), "no flow records") {
		t.Errorf("neither packets, series nor records: %v", err)
	}
}

// Fields of other kinds can hold anything: the error names the first.
func TestActionsOfOtherKinds(t *testing.T) {
	records := netflow.Sessions(nil).Of
	for want, change := range map[string]func(c *traffic.Schema){
		"gap is a number, not a gap":          func(c *traffic.Schema) { c.Steps[0].Kind = traffic.Number },
		"packets is a number, not a size":     func(c *traffic.Schema) { c.Steps[2].Kind = traffic.Number },
		"size is a number, not a size":        func(c *traffic.Schema) { c.Steps[3].Kind = traffic.Number },
		"protocol is a number, not a symbol":  func(c *traffic.Schema) { c.Meta[0] = traffic.Field{Name: "protocol", Kind: traffic.Number} },
		"server is a number, not a address":   func(c *traffic.Schema) { c.Meta[2].Kind = traffic.Number },
		"server_port is a number, not a port": func(c *traffic.Schema) { c.Meta[4].Kind = traffic.Number },
	} {
		c := traffic.Schema{Meta: slices.Clone(records.Meta), Steps: slices.Clone(records.Steps)}
		change(&c)
		if _, _, err := compile.Actions(&c); err == nil || !strings.Contains(err.Error(), "flow records: "+want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	series, packets := rates.Schema(nil, .1), flows.Schema(nil)
	series.Steps[0].Kind, packets.Steps[flows.Direction].Levels = traffic.Number, []string{"down", "up"}
	for want, c := range map[string]*traffic.Schema{"no flow records": &series, `direction has the levels ["down" "up"]`: &packets} {
		if _, _, err := compile.Actions(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// What a capture cannot say is counted, an action once however many reasons it has;
// what would fill the memory names its session.
func TestBounds(t *testing.T) {
	set := func(proto int, starts []float64, actions ...flows.Action) *traffic.Set {
		s := &traffic.Set{Of: flows.Schema(nil)}
		for _, start := range starts {
			x := traffic.Session{Label: -1, Start: start, Meta: make([]float64, flows.MetaFields)}
			x.Meta[flows.Protocol] = float64(proto)
			for _, a := range actions {
				x.Steps = a.Append(x.Steps)
			}
			s.Sessions = append(s.Sessions, x)
		}
		return s
	}
	small := flows.Action{Size: 100, Flags: flows.Push}
	const syn = "a client's first SYN after data or an end, as of another connection: sent without SYN"
	late := flows.Action{Size: 100, Flags: flows.Push, Gap: 1e300}
	for name, c := range map[string]struct {
		set     *traffic.Set
		changed int
		why     map[string]int
	}{
		"tcp, a long gap":     {set(flows.TCP, []float64{0}, small, late, small), 1, map[string]int{"the trace is longer than pcap's time: gap cut": 1}},
		"udp, a long gap":     {set(flows.UDP, []float64{0}, small, late), 2, map[string]int{"the trace is longer than pcap's time: gap cut": 1, "flags of TCP without TCP: sent as data": 2}},
		"two reasons":         {set(flows.TCP, []float64{0}, flows.Action{Size: 9000, Flags: flows.Ack}), 1, map[string]int{"acknowledgement with bytes: sent as data": 1, "larger than the MTU: cut into several packets": 1}},
		"a SYN after a reset": {set(flows.TCP, []float64{0}, flows.Action{Down: true, Flags: flows.Reset}, flows.Action{Flags: flows.Syn}), 1, map[string]int{syn: 1}},
		"a SYN after data":    {set(flows.TCP, []float64{0}, flows.Action{Down: true, Size: 5, Flags: flows.Push}, flows.Action{Flags: flows.Syn}), 1, map[string]int{syn: 1}},
		"a start too late":    {set(flows.TCP, []float64{0, 1e300}, small), 0, map[string]int{"the session starts after pcap's time: start cut": 1}},
		"out of order":        {set(flows.TCP, []float64{1e300, 0}, small, late), 2, map[string]int{"the session starts after pcap's time: start cut": 1, "sessions out of order: start moved": 1, "the trace is longer than pcap's time: gap cut": 2}},
	} {
		var b bytes.Buffer
		r, err := compile.Write(context.Background(), &b, &c.set.Of, store.All(c.set), compile.Options{})
		if err != nil || r.Changed != c.changed || !maps.Equal(r.Why, c.why) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if back, _, err := flows.Read(&b, name, flows.Options{Span: 1 << 62, Idle: 1 << 62}); err != nil || back.Len() != c.set.Len() {
			t.Errorf("%s: read again: %v", name, err)
		}
	}
	for _, proto := range []int{flows.TCP, flows.UDP, flows.ICMP} {
		huge := set(proto, []float64{0, 1}, small)
		huge.Sessions[1].Steps = flows.Action{Size: 1 << 52, Flags: flows.Push}.Append(huge.Sessions[1].Steps)
		if _, err := compile.Write(context.Background(), io.Discard, &huge.Of, store.All(huge), compile.Options{}); err == nil || !strings.Contains(err.Error(), "session 1: compile: step 1: size: 4503599627370496") {
			t.Errorf("protocol %d: %v", proto, err)
		}
	}
}

// Bytes a tick become packets of equal size at equal distances.
func ExampleActions() {
	c := rates.Schema(nil, .1)
	of, packets, err := compile.Actions(&c)
	if err != nil {
		panic(err)
	}
	s, err := packets(&traffic.Session{Label: -1, Steps: []float64{0, 0, 60, 3000}})
	if err != nil {
		panic(err)
	}
	r, err := flows.NewReader(of)
	if err != nil {
		panic(err)
	}
	for i := range r.Len(&s) {
		a := r.At(&s, i)
		fmt.Printf("down %v, %d bytes after %.3f s\n", a.Down, a.Size, a.Gap)
	}
	// Output:
	// down true, 1000 bytes after 0.000 s
	// down false, 60 bytes after 0.033 s
	// down true, 1000 bytes after 0.000 s
	// down true, 1000 bytes after 0.033 s
}
