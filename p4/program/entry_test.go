package program

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// idOf reads an id from the text of the P4Info, without its parser.
func idOf(t *testing.T, info []byte, name string) uint32 {
	t.Helper()
	m := regexp.MustCompile(`preamble \{\s*id: (\d+)\s*name: "` + regexp.QuoteMeta(name) + `"`).FindSubmatch(info)
	if m == nil {
		t.Fatalf("the P4Info has no %s", name)
	}
	id, err := strconv.ParseUint(string(m[1]), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(id)
}

func load(t *testing.T, m Mode) (Program, *Names) {
	t.Helper()
	p, err := Load(m)
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNames(p.P4Info)
	if err != nil {
		t.Fatal(err)
	}
	return p, n
}

// show writes a resolved entry with ids of its match and parameters.
func show(r Resolved) string {
	var b strings.Builder
	for _, m := range r.Match {
		fmt.Fprintf(&b, "match %d=%x", m.Field, m.Value)
		if m.LPM {
			fmt.Fprintf(&b, "/%d", m.Prefix)
		} else if m.Prefix != 0 {
			fmt.Fprintf(&b, " with a prefix length of %d", m.Prefix)
		}
		b.WriteByte(' ')
	}
	for _, p := range r.Params {
		fmt.Fprintf(&b, "%d=%x ", p.ID, p.Value)
	}
	return strings.TrimSpace(b.String())
}

// Entries by name against the ids of queue_limit.*.p4info.txt and bytes by
// hand: P4Runtime 1.5 section 8.4 wants the shortest big-endian string.
func TestEntry(t *testing.T) {
	route := func(dst string) map[string]string { return map[string]string{"h.ipv4.dst": dst} }
	forward := map[string]string{"dmac": "00:00:0a:00:00:01", "port": "300"}
	limit := map[string]string{"limit": "64", "qid": "1"}
	swid := map[string]string{"swid": "0x102"}
	for _, m := range []Mode{Queue, Meter} {
		p, n := load(t, m)
		for _, c := range []struct {
			e             Entry
			table, action string // by full name; no table: an error
			want          string // of show, or the error
		}{
			{Entry{Table: "I.ipv4_lpm", Match: route("10.0.0.0/24"), Action: "I.forward", Params: forward}, "I.ipv4_lpm", "I.forward", "match 1=0a000000/24 1=0a000001 2=012c"},
			{Entry{Table: "ipv4_lpm", Match: route("10.0.0.0/1"), Action: "forward", Params: forward}, "I.ipv4_lpm", "I.forward", "match 1=0a000000/1 1=0a000001 2=012c"},
			{Entry{Table: "ipv4_lpm", Match: route("0.0.0.7/32"), Action: "I.drop"}, "I.ipv4_lpm", "I.drop", "match 1=07/32"},
			{Entry{Table: "I.queue_limit", Match: map[string]string{"egress_port": "0x1ff"}, Action: "set_limit", Params: limit}, "I.queue_limit", "I.set_limit", "match 1=01ff 1=40 2=01"},
			{Entry{Table: "queue_limit", Default: true, Action: "I.set_limit", Params: limit}, "I.queue_limit", "I.set_limit", "1=40 2=01"},
			{Entry{Table: "swtrace", Default: true, Action: "int_hop", Params: swid}, "E.swtrace", "E.int_hop", "1=0102"},

			{Entry{Table: "lpm"}, "", "", `the program has no table "lpm"`},
			{Entry{Table: "ipv4_lpm", Match: route("10.0.0.0/0"), Action: "drop"}, "", "", `match h.ipv4.dst: prefix length "0" is outside 1…32`},
			{Entry{Table: "ipv4_lpm", Match: route("10.0.0.0/33"), Action: "drop"}, "", "", `match h.ipv4.dst: prefix length "33" is outside 1…32`},
			{Entry{Table: "ipv4_lpm", Match: route("10.0.0.0/x"), Action: "drop"}, "", "", `match h.ipv4.dst: prefix length "x" is outside 1…32`},
			{Entry{Table: "ipv4_lpm", Match: route("10.0.0.0"), Action: "drop"}, "", "", `match h.ipv4.dst: "10.0.0.0" does not suit a LPM match`},
			{Entry{Table: "queue_limit", Match: map[string]string{"egress_port": "1/9"}, Action: "set_limit", Params: limit}, "", "", `match egress_port: "1/9" does not suit a EXACT match`},
			{Entry{Table: "queue_limit", Match: map[string]string{"port": "1"}, Action: "set_limit", Params: limit}, "", "", "table queue_limit: a match names no key of it: map[port:1]"},
			{Entry{Table: "queue_limit", Match: map[string]string{"egress_port": "1", "port": "1"}, Action: "set_limit", Params: limit}, "", "", "table queue_limit: a match names no key of it: map[egress_port:1 port:1]"},
			{Entry{Table: "queue_limit", Action: "set_limit", Params: limit}, "", "", "table queue_limit: either default or a match"},
			{Entry{Table: "queue_limit", Match: map[string]string{"egress_port": "1"}, Default: true, Action: "set_limit", Params: limit}, "", "", "table queue_limit: either default or a match"},
			{Entry{Table: "swtrace", Default: true, Action: "hop", Params: swid}, "", "", `the program has no action "hop"`},
			{Entry{Table: "swtrace", Default: true, Action: "set_limit", Params: limit}, "", "", "table swtrace has no action set_limit"},
			{Entry{Table: "swtrace", Default: true, Action: "int_hop"}, "", "", "action int_hop: parameter swid is missing"},
			{Entry{Table: "swtrace", Default: true, Action: "int_hop", Params: map[string]string{"swid": "1", "x": "2"}}, "", "", "action int_hop takes 1 parameters, not 2"},
			{Entry{Table: "queue_limit", Default: true, Action: "set_limit", Params: map[string]string{"limit": "524288", "qid": "1"}}, "", "", "action set_limit: limit: 524288 has 20 bits, its type bit<19>"},
		} {
			r, err := n.Entry(c.e)
			if c.table == "" {
				if err == nil || err.Error() != c.want || show(r) != "" || r.Table != 0 {
					t.Errorf("%s: %+v: %v, %+v; want %s", m, c.e, err, r, c.want)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %+v: %v", m, c.e, err)
				continue
			}
			if got := show(r); got != c.want || r.Default != c.e.Default || r.Table != idOf(t, p.P4Info, c.table) || r.Action != idOf(t, p.P4Info, c.action) {
				t.Errorf("%s: %+v resolves to table %d, action %d, %s; want %s %s %s", m, c.e, r.Table, r.Action, got, c.table, c.action, c.want)
			}
		}
	}
}

// A value is a number of any base, an IPv4 address where 32 bits fit, or a MAC
// address where 48 do.
func TestParseValue(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int32
		want  string
	}{
		{"0", 9, "00"},
		{"511", 9, "01ff"},
		{"0x1ff", 9, "01ff"},
		{"0b101", 3, "05"},
		{"512", 9, "512 has 10 bits, its type bit<9>"},
		{"10.0.0.1", 31, `"10.0.0.1" is not a number, IPv4 or MAC address of 31 bits`},
		{"10.0.0.1", 32, "0a000001"},
		{"10.0.0.1", 48, "0a000001"},
		{"::1", 128, `"::1" is not a number, IPv4 or MAC address of 128 bits`},
		{"02:00:00:00:00:01", 47, `"02:00:00:00:00:01" is not a number, IPv4 or MAC address of 47 bits`},
		{"02:00:00:00:00:01", 48, "020000000001"},
		{"00:00:00:00:01:02", 64, "0102"},
		{"02:00:00:00:00:00:00:01", 64, `"02:00:00:00:00:00:00:01" is not a number, IPv4 or MAC address of 64 bits`}, // EUI-64
		{"-1", 9, `"-1" is not a number, IPv4 or MAC address of 9 bits`},
	} {
		b, err := parseValue(c.text, c.width)
		got := fmt.Sprintf("%x", b)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("parseValue(%q, %d) = %s, want %s", c.text, c.width, got, c.want)
		}
	}
}

// The cookie is FNV-1a of both files: a program that differs in either of them
// is another program to a switch.
func TestCookie(t *testing.T) {
	seen := map[uint64]Mode{}
	for _, m := range []Mode{Queue, Meter} {
		p, _ := load(t, m)
		h := uint64(14695981039346656037) // offset basis and prime of 64 bits
		for _, b := range append(append([]byte{}, p.P4Info...), p.Device...) {
			h = (h ^ uint64(b)) * 1099511628211
		}
		if p.Cookie != h || seen[h] != "" || p.Mode != m {
			t.Errorf("%s: cookie %016x, want %016x, another's: %q", m, p.Cookie, h, seen[h])
		}
		seen[h] = m
	}
}
