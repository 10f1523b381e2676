package flows

import (
	"math"
	"strings"
	"testing"
)

const siotLines = `{"sa":"10.0.0.1","da":"224.0.0.1","pr":2,"sp":null,"dp":null,"time_start":100.0,"flow_type":"Group","packets":[{"b":8,"ipt":0,"dir":">"}]}
{"sa":"10.0.0.1","da":"10.0.0.2","pr":6,"sp":40000,"dp":80,"time_start":101.5,"flow_type":"Web","ip":{"out":{"ttl":64},"in":{"ttl":120}},"ppi":[{"b":0,"seq":5,"ack":0,"flags":"S","t":0,"dir":">","opts":[{"mss":1460},{"noop":null},{"ws":7}]},{"b":0,"seq":9,"ack":6,"flags":"SA","t":2,"dir":"<","opts":[{"mss":1460}]},{"b":10,"seq":6,"ack":10,"flags":"PA","t":5,"dir":">","opts":[]},{"b":10,"seq":6,"ack":10,"flags":"PA","t":205,"dir":">","opts":[]}],"packets":[]}

{"sa":"10.0.0.1","da":"10.0.0.3","pr":17,"sp":5353,"dp":53,"time_start":100.5,"flow_type":"Name","packets":[{"b":30,"ipt":0,"dir":">"},{"b":60,"ipt":20,"dir":"<"}]}
{"sa":"10.0.0.9","da":"10.0.0.1","pr":1,"sp":null,"dp":null,"time_start":102.0,"flow_type":"ICMP (Port Unreachable)","packets":[{"b":28,"ipt":0,"dir":"<"}]}
`

func TestSIoT(t *testing.T) {
	if !IsSIoT([]byte(siotLines)) {
		t.Error("not recognised")
	}
	s, c, err := ReadSIoT(strings.NewReader(siotLines), "mem")
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 3 || c.Packets != 8 || c.Actions != 7 || c.Left["IP protocol 2"] != 1 {
		t.Fatalf("%d sessions, %+v", s.Len(), c)
	}
	web := s.Sessions[1]
	if s.Of.LabelName(web.Label) != "Web" || math.Abs(web.Start-1.5) > 1e-6 || web.Meta[ServerPort] != 80 || Profiles[int(web.Meta[OptionProfile])] != "mss,ws" || web.Meta[TTLDown] != 2 {
		t.Errorf("%+v", web)
	}
	r, _ := NewReader(&s.Of)
	for i, want := range []Action{{Flags: Syn}, {Down: true, Flags: Syn, Gap: .002}, {Size: 10, Flags: Push, Gap: .003}, {Size: 10, Flags: Retransmission, Gap: .2}} {
		if got := r.At(&web, i); got.Down != want.Down || got.Size != want.Size || got.Flags != want.Flags || math.Abs(got.Gap-want.Gap) > 1e-6 {
			t.Errorf("action %d is %+v, want %+v", i, got, want)
		}
	}
	if m := s.Sessions[2].Meta; m[Protocol] != ICMP || m[ServerPort] != 3<<8|3 {
		t.Errorf("ICMP: %v", m)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"sa":"10.0.0.9"`, `"sa":"x"`, "sa:"},
		{`"time_start":102.0`, `"time_start":-1`, "line 5: time_start"},
		{`"dir":"<"}]}` + "\n{", `"dir":"?"}]}` + "\n{", `packets[1]: dir "?"`},
		{`"flags":"SA"`, `"flags":"Z"`, `ppi[1]: flag 'Z'`},
		{`"b":30`, `"b":-1`, "packets[0]: -1 bytes"},
		{`"pr":17`, `"pr":"x"`, "line 4"},
	} {
		if _, _, err := ReadSIoT(strings.NewReader(strings.Replace(siotLines, c.from, c.to, 1)), "mem"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.to, err, c.want)
		}
	}
}

func FuzzSIoT(f *testing.F) {
	f.Add([]byte(siotLines))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, err := ReadSIoT(strings.NewReader(string(b)), "mem")
		if err == nil {
			if err := s.Valid(); err != nil {
				t.Error(err)
			}
		}
	})
}
