package live

import (
	"bytes"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

const fuzzHead = "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate\n"

// FuzzPlayer: a request is accepted with the samples that it says, or refused
// with a reason.
func FuzzPlayer(f *testing.F) {
	f.Add("1694912784760", `{"timestamp": 1694912784759, "Buffer": 3.977, "FPS": 30, "ReportedBitrate": 3312, "Resolution": "1280x720", "CalcBitrate": 66, "stall_s": 0}`)
	f.Add("", "[{\"timestamp\": 1}, {\"timestamp\": 2, \"Buffer\": null}]\nnull")
	f.Add("-1", fuzzHead+"1694912784759;3.977;30;3312;1280x720;66\n1;2;;;;\n")
	f.Fuzz(func(t *testing.T, now, body string) {
		c, err := New(Config{Switches: []uint32{1}, Reports: 1})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		c.Player().ServeHTTP(w, httptest.NewRequest("POST", "/?now="+url.QueryEscape(now), strings.NewReader(body)))
		s := c.Stats()
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest || (w.Code == http.StatusOK) != (s.BadSamples == 0) {
			t.Fatalf("%d, %+v", w.Code, s)
		}
		for i := range c.samples {
			for k, v := range c.samples[i].values {
				if !(v >= 0 && v <= math.MaxFloat32) || !c.samples[i].valid[k] && v != 0 {
					t.Fatalf("%+v", c.samples[i])
				}
			}
		}
	})
}

// FuzzTail: a log that comes in pieces holds what it holds whole.
func FuzzTail(f *testing.F) {
	f.Add([]byte(fuzzHead+"1694912784759;3.977;30;3312;1280x720;66\n1694912785759;x;;;;\r\n\n1694912786759;4;;;;\n"), uint16(7))
	f.Add([]byte("\ufeff\n\nno header\n"+fuzzHead+"1;1;;;;\n2;2;;;;"), uint16(1))
	f.Fuzz(func(t *testing.T, text []byte, piece uint16) {
		read := func(size int) ([]stamped, Stats) {
			c, err := New(Config{Switches: []uint32{1}, Reports: 1})
			if err != nil {
				t.Fatal(err)
			}
			follow := &follower{c: c, path: "log", line: 1}
			for b := text; len(b) > 0; {
				n := min(size, len(b))
				follow.split(b[:n])
				b = b[n:]
			}
			if len(follow.part) > maxLine {
				t.Fatalf("%d bytes of a line are held", len(follow.part))
			}
			if want := 1 + bytes.Count(text, []byte("\n")); follow.line != want {
				t.Fatalf("line %d, want %d", follow.line, want)
			}
			return follow.got, c.Stats()
		}
		whole, a := read(len(text))
		pieces, b := read(int(piece)%1000 + 1)
		// Times are in order within what is read at once only, so pieces may
		// hold more.
		if len(pieces) < len(whole) || a.BadSamples-b.BadSamples != uint64(len(pieces)-len(whole)) {
			t.Fatalf("whole: %d samples, %+v\nin pieces: %d, %+v", len(whole), a, len(pieces), b)
		}
		if a.BadSamples == b.BadSamples && !reflect.DeepEqual(whole, pieces) {
			t.Fatalf("whole %+v\nin pieces %+v", whole, pieces)
		}
	})
}
