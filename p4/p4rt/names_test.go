package p4rt

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/proto"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/program"
)

func resolve(t *testing.T, edit func(*Config)) *resolved {
	t.Helper()
	c := Config{Switch: inventory.Switch{Target: "h:1", Queues: []p4.Limit{64, 32}, Ports: []p4.Port{1, 2}}}
	if edit != nil {
		edit(&c)
	}
	r, err := c.resolve()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func metered(c *Config) { c.Mode, c.Rate = program.Meter, 950 }

// show writes an entry's ids and values.
func show(e *p4v1.TableEntry) string {
	if e == nil {
		return ""
	}
	s := keyOf(e)
	if a := e.GetAction().GetAction(); a != nil {
		s += fmt.Sprint(" action ", a.ActionId)
		for _, p := range a.Params {
			s += fmt.Sprintf(" %d=%x", p.ParamId, p.Value)
		}
	}
	if m := e.MeterConfig; m != nil {
		s += fmt.Sprintf(" meter %d/%d %d/%d", m.Cir, m.Cburst, m.Pir, m.Pburst)
	}
	return s
}

// The ids are those of queue_limit.*.p4info.txt, the values by hand.
const limitTable, setLimit = "47965199", "17527946"

func TestEntries(t *testing.T) {
	queue, meter := resolve(t, nil), resolve(t, metered)
	for _, c := range []struct {
		r    *resolved
		port p4.Port
		l    p4.Limit
		want string
	}{
		{queue, 1, 64, limitTable + " [1=01] action " + setLimit + " 1=40 2=00"},
		{queue, 511, 32, limitTable + " [1=01ff] action " + setLimit + " 1=20 2=01"},
		{queue, 512, 32, "match egress_port: 512 has 10 bits, its type bit<9>"},
		{queue, 1, 48, "p4: no queue is provisioned for the limit 48: there are [64 32]"},
		{queue, 1, 0, "p4: limit 0 is outside 1…524287 packets"},
		{meter, 1, 300, limitTable + " [1=01] action " + setLimit + " 1=012c 2=00 meter 950/300 950/300"},
		{meter, 2, 32, limitTable + " [1=02] action " + setLimit + " 1=20 2=00 meter 950/32 950/32"}, // not queue 1's number
	} {
		e, err := c.r.entry(c.port, c.l)
		got := show(e)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s, port %d, limit %d: %s, want %s", c.r.Mode, c.port, c.l, got, c.want)
		}
	}
	e, err := queue.names.entry(program.Entry{Table: program.Routes, Match: map[string]string{"h.ipv4.dst": "10.0.0.0/24"}, Action: "I.drop"})
	if want := "49652232 [1=a000000/24] action 32117294"; err != nil || strings.ReplaceAll(show(e), "=0a", "=a") != want {
		t.Errorf("a route: %s, %v, want %s", show(e), err, want)
	}
	e, err = queue.names.entry(program.Entry{Table: program.Trace, Action: "int_hop", Params: map[string]string{"swid": "258"}, Default: true})
	if want := "35397461 default action 21479165 1=0102"; err != nil || !strings.HasPrefix(show(e), "35397461 default action ") || !strings.HasSuffix(show(e), " 1=0102") || !e.IsDefaultAction {
		t.Errorf("a default: %s, %v, want as %s", show(e), err, want)
	}
	if e, err := queue.names.entry(program.Entry{Table: "x"}); e != nil || err == nil {
		t.Errorf("no table: %v, %v", e, err)
	}
}

// The limit that an entry enforces: its queue's depth, or its meter's burst.
func TestLimitOf(t *testing.T) {
	queue, meter := resolve(t, nil), resolve(t, metered)
	for _, c := range []struct {
		name      string
		r         *resolved
		said, qid byte
		burst     int64 // of the meter; 0: there is none
		want      p4.Limit
		is        error
		text      string
	}{
		{"the first queue", queue, 64, 0, 0, 64, nil, ""},
		{"the second", queue, 32, 1, 0, 32, nil, ""},
		{"another queue than it says", queue, 32, 0, 0, 64, p4.ErrReadBack, "p4: the switch reads back another limit: the entry says 32 and enforces 64"},
		{"a queue that is not provisioned", queue, 32, 2, 0, 0, p4.ErrReadBack, "p4: the switch reads back another limit: the entry says 32 and picks queue 2: there are [64 32]"},
		{"the meter's burst", meter, 48, 0, 48, 48, nil, ""},
		{"another burst", meter, 48, 0, 49, 49, p4.ErrReadBack, "p4: the switch reads back another limit: the entry says 48 and enforces 49"},
		{"a huge burst", meter, 48, 0, 1 << 40, p4.MaxLimit, p4.ErrReadBack, "p4: the switch reads back another limit: the entry says 48 and enforces 524287"},
		{"no meter", meter, 48, 0, 0, 0, p4.ErrNoLimit, "p4: no limit is set on the port: the meter is unset, all packets are green"},
	} {
		e := &p4v1.TableEntry{Action: &p4v1.TableAction{Type: &p4v1.TableAction_Action{Action: &p4v1.Action{ActionId: 17527946, Params: []*p4v1.Action_Param{
			{ParamId: 2, Value: []byte{c.qid}}, {ParamId: 1, Value: []byte{0, c.said}},
		}}}}}
		if c.burst != 0 {
			e.MeterConfig = &p4v1.MeterConfig{Pburst: c.burst, Cburst: 1}
		}
		got, err := c.r.limitOf(e)
		if got != c.want || !errors.Is(err, c.is) || err != nil && err.Error() != c.text {
			t.Errorf("%s: %d, %v; want %d, %s", c.name, got, err, c.want, c.text)
		}
	}
	if v, ok := queue.names.param(&p4v1.TableEntry{}, program.ParamLimit); v != 0 || ok {
		t.Errorf("an entry without an action has the limit %d", v)
	}
}

// Controller headers by name, values in the program's widths.
func TestMetadata(t *testing.T) {
	n := resolve(t, nil).names
	md, err := n.metadata(program.PacketOut, "egress_port", 300)
	if err != nil || len(md) != 2 || fmt.Sprintf("%d=%x %d=%x", md[0].MetadataId, md[0].Value, md[1].MetadataId, md[1].Value) != "1=012c 2=00" {
		t.Errorf("%v, %v", md, err)
	}
	for _, c := range []struct{ header, want string }{
		{program.PacketOut, "packet_out.egress_port: 512 has 10 bits, its type bit<9>"},
		{"digest", `the program has no controller header "digest"`},
	} {
		if md, err := n.metadata(c.header, "egress_port", 512); md != nil || err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, %v; want %s", c.header, md, err, c.want)
		}
	}
	md = []*p4v1.PacketMetadata{{MetadataId: 2, Value: []byte{9}}, {MetadataId: 1, Value: []byte{1, 44}}}
	for _, c := range []struct {
		header, name string
		want         uint64
	}{{program.PacketIn, "ingress_port", 300}, {program.PacketIn, "pad", 9}, {program.PacketIn, "egress_port", 0}, {"digest", "ingress_port", 0}} {
		if got := n.metadatum(c.header, c.name, md); got != c.want {
			t.Errorf("%s.%s: %d, want %d", c.header, c.name, got, c.want)
		}
	}
	if got := n.metadatum(program.PacketIn, "ingress_port", nil); got != 0 {
		t.Errorf("without metadata: %d", got)
	}
	if number(nil) != 0 || number([]byte{1, 2, 3}) != 0x010203 {
		t.Errorf("%d, %#x", number(nil), number([]byte{1, 2, 3}))
	}
}

func TestKeyOf(t *testing.T) {
	exact := func(id uint32, v ...byte) *p4v1.FieldMatch {
		return &p4v1.FieldMatch{FieldId: id, FieldMatchType: &p4v1.FieldMatch_Exact_{Exact: &p4v1.FieldMatch_Exact{Value: v}}}
	}
	lpm := func(id uint32, n int32, v ...byte) *p4v1.FieldMatch {
		return &p4v1.FieldMatch{FieldId: id, FieldMatchType: &p4v1.FieldMatch_Lpm{Lpm: &p4v1.FieldMatch_LPM{Value: v, PrefixLen: n}}}
	}
	for _, c := range []struct {
		e    *p4v1.TableEntry
		want string
	}{
		{&p4v1.TableEntry{TableId: 5, IsDefaultAction: true}, "5 default"},
		{&p4v1.TableEntry{TableId: 5}, "5 []"},
		{&p4v1.TableEntry{TableId: 5, Match: []*p4v1.FieldMatch{exact(1, 0, 7)}}, "5 [1=07]"},
		{&p4v1.TableEntry{TableId: 5, Match: []*p4v1.FieldMatch{exact(2, 1), exact(1, 2)}}, "5 [1=02 2=01]"},
		{&p4v1.TableEntry{TableId: 5, Match: []*p4v1.FieldMatch{lpm(1, 8, 0, 10, 0)}}, "5 [1=0a00/8]"},
	} {
		if got := keyOf(c.e); got != c.want {
			t.Errorf("%v: %s, want %s", c.e, got, c.want)
		}
	}
	ternary := func(v byte) *p4v1.TableEntry {
		return &p4v1.TableEntry{TableId: 5, Match: []*p4v1.FieldMatch{{FieldId: 1, FieldMatchType: &p4v1.FieldMatch_Ternary_{Ternary: &p4v1.FieldMatch_Ternary{Value: []byte{v}}}}}}
	}
	if keyOf(ternary(1)) == keyOf(ternary(2)) {
		t.Error("two ternary matches have one key")
	}
}

// Entries are the same where action, parameters in any order and with any
// padding, and meter are.
func TestSame(t *testing.T) {
	entry := func(edit func(e *p4v1.TableEntry, a *p4v1.Action)) *p4v1.TableEntry {
		a := &p4v1.Action{ActionId: 3, Params: []*p4v1.Action_Param{{ParamId: 1, Value: []byte{7}}, {ParamId: 2, Value: []byte{1, 0}}}}
		e := &p4v1.TableEntry{Action: &p4v1.TableAction{Type: &p4v1.TableAction_Action{Action: a}}, MeterConfig: &p4v1.MeterConfig{Cir: 1, Cburst: 2, Pir: 3, Pburst: 4}}
		edit(e, a)
		return e
	}
	for _, c := range []struct {
		name string
		edit func(e *p4v1.TableEntry, a *p4v1.Action)
		same bool
	}{
		{"equal", func(*p4v1.TableEntry, *p4v1.Action) {}, true},
		{"padded, in another order", func(_ *p4v1.TableEntry, a *p4v1.Action) {
			a.Params = []*p4v1.Action_Param{{ParamId: 2, Value: []byte{0, 1, 0}}, {ParamId: 1, Value: []byte{0, 7}}}
		}, true},
		{"another action", func(_ *p4v1.TableEntry, a *p4v1.Action) { a.ActionId++ }, false},
		{"a parameter less", func(_ *p4v1.TableEntry, a *p4v1.Action) { a.Params = a.Params[:1] }, false},
		{"another parameter", func(_ *p4v1.TableEntry, a *p4v1.Action) { a.Params[1].ParamId = 9 }, false},
		{"another value", func(_ *p4v1.TableEntry, a *p4v1.Action) { a.Params[1].Value = []byte{1, 1} }, false},
		{"another first value", func(_ *p4v1.TableEntry, a *p4v1.Action) { a.Params[0].Value = []byte{8} }, false},
		{"another rate", func(e *p4v1.TableEntry, _ *p4v1.Action) { e.MeterConfig.Cir++ }, false},
		{"another burst", func(e *p4v1.TableEntry, _ *p4v1.Action) { e.MeterConfig.Cburst++ }, false},
		{"another peak rate", func(e *p4v1.TableEntry, _ *p4v1.Action) { e.MeterConfig.Pir++ }, false},
		{"another peak burst", func(e *p4v1.TableEntry, _ *p4v1.Action) { e.MeterConfig.Pburst++ }, false},
		{"no meter", func(e *p4v1.TableEntry, _ *p4v1.Action) { e.MeterConfig = nil }, false},
	} {
		have, want := entry(c.edit), entry(func(*p4v1.TableEntry, *p4v1.Action) {})
		if a, b := same(have, want), same(want, have); a != c.same || b != c.same {
			t.Errorf("%s: %v and %v, want %v", c.name, a, b, c.same)
		}
	}
	if !same(&p4v1.TableEntry{}, &p4v1.TableEntry{}) {
		t.Error("two entries of nothing differ")
	}
}

// What a switch says of its program has to hold ours: the order does not matter,
// and it may have more.
func TestCompareInfo(t *testing.T) {
	ours := resolve(t, nil).names.Info
	for _, c := range []struct {
		name string
		edit func(i *configv1.P4Info)
		want string
	}{
		{"equal", func(*configv1.P4Info) {}, ""},
		{"reversed", func(i *configv1.P4Info) { i.Tables[0], i.Tables[2] = i.Tables[2], i.Tables[0] }, ""},
		{"more", func(i *configv1.P4Info) {
			i.Actions = append(i.Actions, &configv1.Action{Preamble: &configv1.Preamble{Name: "I.more"}})
		}, ""},
		{"no table", func(i *configv1.P4Info) { i.Tables = i.Tables[1:] }, "it has no I.ipv4_lpm"},
		{"no action", func(i *configv1.P4Info) { i.Actions = i.Actions[:len(i.Actions)-1] }, "it has no E.int_hop"},
		{"no packet header", func(i *configv1.P4Info) { i.ControllerPacketMetadata = nil }, "it has no packet_in"},
		{"a smaller table", func(i *configv1.P4Info) { i.Tables[1].Size-- }, "its I.queue_limit is not ours"},
		{"another parameter", func(i *configv1.P4Info) { i.Actions[3].Params[0].Bitwidth++ }, "its I.set_limit is not ours"},
		{"another header", func(i *configv1.P4Info) { i.ControllerPacketMetadata[1].Metadata[0].Id++ }, "its packet_out is not ours"},
	} {
		theirs := proto.Clone(ours).(*configv1.P4Info)
		c.edit(theirs)
		err := compareInfo(theirs, ours)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, p4.ErrPipeline) || err.Error() != "p4: the switch runs another pipeline: "+c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if err := compareInfo(nil, ours); err == nil || err.Error() != "p4: the switch runs another pipeline: it tells no P4Info" {
		t.Errorf("none: %v", err)
	}
}

// Random ids stay below the default claim where none other is given.
func TestBelow(t *testing.T) {
	if got := resolve(t, nil).Below; got != inventory.DefaultElection {
		t.Errorf("by default below %v, want %v", got, inventory.DefaultElection)
	}
	if got := resolve(t, func(c *Config) { c.Below = Election{High: 1} }).Below; got != (Election{High: 1}) {
		t.Errorf("below %v, want 1:0", got)
	}
	if got := resolve(t, func(c *Config) { c.Backup = true }).Election; got != (Election{}) {
		t.Errorf("a backup without an id claims %v", got)
	}
	if got := resolve(t, nil).Election; got != inventory.DefaultElection {
		t.Errorf("by default the claim is %v", got)
	}
}
