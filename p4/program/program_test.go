package program

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	"google.golang.org/protobuf/encoding/prototext"
)

// names is what source, P4Info and JSON must agree on.
type names struct {
	Tables   map[string][]string // table → its actions, sorted
	Keys     map[string][]string // table → its keys
	Params   map[string][]string // action → its parameters, "name:bits"
	Counters []string
	Meters   []string
}

var modes = []Mode{Queue, Meter}

func parseInfo(t *testing.T, m Mode) names {
	t.Helper()
	p, err := Load(m)
	if err != nil {
		t.Fatal(err)
	}
	var info configv1.P4Info
	if err := prototext.Unmarshal(p.P4Info, &info); err != nil {
		t.Fatalf("%s: P4Info: %v", m, err)
	}
	n := names{Tables: map[string][]string{}, Keys: map[string][]string{}, Params: map[string][]string{}}
	byID := map[uint32]string{}
	for _, a := range info.Actions {
		byID[a.Preamble.Id] = a.Preamble.Name
		var ps []string
		for _, p := range a.Params {
			ps = append(ps, fmt.Sprintf("%s:%d", p.Name, p.Bitwidth))
		}
		n.Params[a.Preamble.Name] = ps
	}
	for _, tb := range info.Tables {
		var as, ks []string
		for _, r := range tb.ActionRefs {
			as = append(as, byID[r.Id])
		}
		for _, k := range tb.MatchFields {
			ks = append(ks, k.Name)
		}
		slices.Sort(as)
		n.Tables[tb.Preamble.Name], n.Keys[tb.Preamble.Name] = as, ks
	}
	for _, c := range info.Counters {
		n.Counters = append(n.Counters, c.Preamble.Name)
	}
	for _, c := range info.DirectCounters {
		n.Counters = append(n.Counters, c.Preamble.Name)
	}
	for _, c := range info.DirectMeters {
		n.Meters = append(n.Meters, c.Preamble.Name)
	}
	slices.Sort(n.Counters)
	return n
}

func parseJSON(t *testing.T, m Mode) names {
	t.Helper()
	p, err := Load(m)
	if err != nil {
		t.Fatal(err)
	}
	var j struct {
		Pipelines []struct {
			Tables []struct {
				Name    string
				Actions []string
				Key     []struct{ Name string }
			}
		}
		Actions []struct {
			Name        string
			RuntimeData []struct {
				Name     string
				Bitwidth int
			} `json:"runtime_data"`
		}
		CounterArrays []struct{ Name string } `json:"counter_arrays"`
		MeterArrays   []struct{ Name string } `json:"meter_arrays"`
	}
	if err := json.Unmarshal(p.Device, &j); err != nil {
		t.Fatalf("%s: BMv2 JSON: %v", m, err)
	}
	// p4c adds tables and actions of its own for bare statements.
	hidden := func(name string) bool { return strings.Contains(name, "qlimit_v1l") }
	n := names{Tables: map[string][]string{}, Keys: map[string][]string{}, Params: map[string][]string{}}
	for _, pl := range j.Pipelines {
		for _, tb := range pl.Tables {
			if hidden(tb.Name) {
				continue
			}
			var ks []string
			for _, k := range tb.Key {
				ks = append(ks, k.Name)
			}
			slices.Sort(tb.Actions)
			n.Tables[tb.Name], n.Keys[tb.Name] = tb.Actions, ks
		}
	}
	for _, a := range j.Actions {
		if hidden(a.Name) {
			continue
		}
		var ps []string
		for _, p := range a.RuntimeData {
			ps = append(ps, fmt.Sprintf("%s:%d", p.Name, p.Bitwidth))
		}
		n.Params[a.Name] = ps
	}
	for _, c := range j.CounterArrays {
		n.Counters = append(n.Counters, c.Name)
	}
	for _, c := range j.MeterArrays {
		n.Meters = append(n.Meters, c.Name)
	}
	slices.Sort(n.Counters)
	return n
}

var (
	controls = regexp.MustCompile(`(?m)^control (\w+)\(`)
	tables   = regexp.MustCompile(`(?s)table (\w+) \{(.*?actions = \{.*?\}.*?)\}`)
	actions  = regexp.MustCompile(`action (\w+)\(([^)]*)\)`)
	keys     = regexp.MustCompile(`key = \{\s*([\w.]+): \w+(?: @name\("(\w+)"\))?;`)
	inside   = regexp.MustCompile(`actions = \{([^}]*)\}`)
	externs  = regexp.MustCompile(`(?:@name\("(\w+)"\) )?(direct_counter|counter|direct_meter<[^>]*>*)\([^)]*\) (\w+);`)
	param    = regexp.MustCompile(`(bit<(\d+)>|port_t) (\w+)`)
)

// parseSource reads the names off the P4 text: enough grammar for this file.
func parseSource(t *testing.T) names {
	t.Helper()
	n := names{Tables: map[string][]string{}, Keys: map[string][]string{}, Params: map[string][]string{}}
	text := string(Source())
	at := controls.FindAllStringSubmatchIndex(text, -1)
	for i, c := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		prefix, body := text[c[2]:c[3]]+".", text[c[0]:end]
		full := func(name string) string {
			if name == "NoAction" {
				return name
			}
			return prefix + name
		}
		for _, tb := range tables.FindAllStringSubmatch(body, -1) {
			var as, ks []string
			for a := range strings.SplitSeq(inside.FindStringSubmatch(tb[2])[1], ";") {
				if f := strings.Fields(a); len(f) > 0 {
					as = append(as, full(f[len(f)-1]))
				}
			}
			if k := keys.FindStringSubmatch(tb[2]); k != nil {
				if k[2] != "" {
					k[1] = k[2]
				}
				ks = append(ks, k[1])
			}
			slices.Sort(as)
			n.Tables[full(tb[1])], n.Keys[full(tb[1])] = as, ks
			for _, a := range as {
				if a == "NoAction" {
					n.Params[a] = nil
				}
			}
		}
		for _, a := range actions.FindAllStringSubmatch(body, -1) {
			var ps []string
			for _, p := range param.FindAllStringSubmatch(a[2], -1) {
				if p[1] == "port_t" {
					p[2] = "9"
				}
				ps = append(ps, p[3]+":"+p[2])
			}
			n.Params[full(a[1])] = ps
		}
		for _, e := range externs.FindAllStringSubmatch(body, -1) {
			if e[1] != "" {
				e[3] = e[1]
			}
			if strings.HasPrefix(e[2], "direct_meter") {
				n.Meters = append(n.Meters, full(e[3]))
			} else {
				n.Counters = append(n.Counters, full(e[3]))
			}
		}
	}
	slices.Sort(n.Counters)
	return n
}

// The three must be of one program: a table that only one of them knows is
// an entry that can be written and never matches.
func TestSourceInfoAndJSONAgree(t *testing.T) {
	source := fmt.Sprint(parseSource(t))
	for _, m := range modes {
		for what, got := range map[string]names{"P4Info": parseInfo(t, m), "JSON": parseJSON(t, m)} {
			if fmt.Sprint(got) != source {
				t.Errorf("%s of %s:\n%v\nsource:\n%v", what, m, got, source)
			}
		}
	}
}

func TestConstantsNameTheProgram(t *testing.T) {
	for _, m := range modes {
		n := parseInfo(t, m)
		if !slices.Contains(n.Tables[Table], Action) || !slices.Equal(n.Keys[Table], []string{KeyPort}) {
			t.Errorf("%s: table %s has actions %v, keys %v", m, Table, n.Tables[Table], n.Keys[Table])
		}
		if want := []string{ParamLimit + ":19", ParamQueue + ":3"}; !slices.Equal(n.Params[Action], want) {
			t.Errorf("%s: %s takes %v, want %v", m, Action, n.Params[Action], want)
		}
		for _, name := range []string{Routes, Trace} {
			if n.Tables[name] == nil {
				t.Errorf("%s: there is no table %s", m, name)
			}
		}
	}
}

// Dropping at egress by enq_qdepth (VARIANT 2) delivers 2 % of the packets:
// no shipped program may do it.
func TestNoModeDropsAtEgress(t *testing.T) {
	for _, m := range modes {
		p, err := Load(m)
		if err != nil {
			t.Fatal(err)
		}
		var j struct {
			Pipelines []struct {
				Name   string
				Tables []struct{ Actions []string }
			}
			Actions []struct {
				Name       string
				Primitives []struct{ Op string }
			}
		}
		if err := json.Unmarshal(p.Device, &j); err != nil {
			t.Fatal(err)
		}
		drops := map[string]bool{}
		for _, a := range j.Actions {
			for _, op := range a.Primitives {
				drops[a.Name] = drops[a.Name] || op.Op == "mark_to_drop"
			}
		}
		ingress := false
		for _, pl := range j.Pipelines {
			for _, tb := range pl.Tables {
				for _, a := range tb.Actions {
					if drops[a] && pl.Name == "egress" {
						t.Errorf("%s: %s drops at egress", m, a)
					}
					ingress = ingress || drops[a] && pl.Name == "ingress"
				}
			}
		}
		if !ingress {
			t.Errorf("%s: no action drops at ingress: this test sees nothing", m)
		}
	}
}

func TestLoad(t *testing.T) {
	if _, err := Load("egress"); err == nil || err.Error() != `p4/program: mode: "egress" is not one of "queue", "meter"` {
		t.Errorf("mode egress: %v", err)
	}
	q, err := Load(Queue)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load(Meter)
	if err != nil {
		t.Fatal(err)
	}
	if q.Cookie == m.Cookie || q.Cookie == 0 || m.Cookie == 0 {
		t.Errorf("cookies %x and %x: a switch running the other mode would be taken for ours", q.Cookie, m.Cookie)
	}
}

// What the controller and the program must agree on is one in both: the program's text and P4Info have the
// last word.
func TestNumbersOfTheProgram(t *testing.T) {
	for _, want := range []string{fmt.Sprintf("PROTO_PROBE = %d;", ProbeProto), fmt.Sprintf("#define CPU_PORT %d\n", CPUPort)} {
		if !strings.Contains(string(Source()), want) {
			t.Errorf("the program's text has no %q", want)
		}
	}
	p, err := Load(Queue)
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNames(p.P4Info)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range n.Info.Actions {
		for _, x := range a.Params {
			if x.Name == ParamQueue && 1<<x.Bitwidth != MaxQueues {
				t.Errorf("a queue's id has %d bits, and there may be %d queues", x.Bitwidth, MaxQueues)
			}
		}
	}
}
