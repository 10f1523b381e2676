package ws

import (
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/env"
)

// The close codes are those that PROTOCOL.md lists.
func TestCloseCodesAreTheProtocols(t *testing.T) {
	b, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "Close codes: ")
	if !ok {
		t.Fatal("PROTOCOL.md lists no close codes")
	}
	text, _, _ = strings.Cut(text, "\n\n")
	text = strings.Join(strings.Fields(text), " ")
	text = regexp.MustCompile(`\([^)]*\)`).ReplaceAllString(text, "")
	listed := map[string]int{}
	for _, item := range strings.Split(text, " · ") {
		codes := regexp.MustCompile(`\d{4}`).FindAllString(item, -1)
		what := strings.Trim(regexp.MustCompile(`\d{4},?`).ReplaceAllString(item, ""), " .")
		for i, code := range codes {
			n, _ := strconv.Atoi(code)
			name := what
			if len(codes) > 1 {
				name += " " + strconv.Itoa(i+1)
			}
			listed[name] = n
		}
	}
	for name, code := range map[string]int{
		"as asked": closeNormal, "draining": closeGoingAway, "no pong": closeNoPong, "slow_consumer": closeSlow, "idle session": closeIdle,
		"WebSocket protocol errors 1": closeProtocol, "WebSocket protocol errors 2": closeUTF8, "WebSocket protocol errors 3": closeTooBig,
		"capacity, rate_limited, session_busy": closeBusy, "bad_frame": closeBadFrame, "bad_version": closeBadVersion,
		"unauthorized": closeUnauthorized, "session_lost": closeLost, "internal": closeInternal,
	} {
		if listed[name] != code {
			t.Errorf("%s is %d, PROTOCOL.md says %d", name, code, listed[name])
		}
		delete(listed, name)
	}
	if len(listed) > 0 {
		t.Errorf("PROTOCOL.md lists more: %v", listed)
	}
}

// The byte order of this machine, and the exchange of bytes for one of the other.
func TestWordsAreLittleEndian(t *testing.T) {
	if want := slices.Contains([]string{"ppc64", "s390x", "mips", "mips64"}, runtime.GOARCH); bigEndian != want {
		t.Errorf("%s is big-endian: %v", runtime.GOARCH, bigEndian)
	}
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	if swap32(b); string(b) != "\x04\x03\x02\x01\x08\x07\x06\x05" {
		t.Errorf("%x", b)
	}
}

// A reply has infos of the episode that ended where there are last observations and
// infos, be they one number each, and nowhere else.
func TestFinalInfoOfAReply(t *testing.T) {
	one := []float32{7}
	for _, c := range []struct {
		final, info, finalInfo []float32
		over                   bool
		want                   uint16
		numbers                int
	}{
		{one, one, one, true, flagFinalObs | flagInfo | flagFinalInfo, 3},
		{one, one, one, false, flagInfo, 1},
		{one, one, nil, true, flagFinalObs | flagInfo, 2},
		{one, nil, one, true, flagFinalObs, 1},
		{nil, one, one, true, flagInfo, 1},
		{nil, nil, one, true, 0, 0},
	} {
		b := env.Batch{Obs: one, Reward: one, Terminated: []bool{c.over}, Truncated: []bool{false}, FinalObs: c.final}
		reply := appendResult(nil, header{Type: typeStepResult, Env: 1, N: 1, Seq: 3}, 1, &b, c.info, c.finalInfo)
		h, err := parseHeader(reply)
		if err != nil || h.Flags != c.want || h.Aux != uint32(4*c.numbers) || len(reply) != 24+4+4+8+4*c.numbers {
			t.Errorf("%+v: flags %#x, %d bytes of extras, %d in all, %v; want %#x and %d", c, h.Flags, h.Aux, len(reply), err, c.want, 4*c.numbers)
		}
	}
}

// Latencies fall into powers of two of a microsecond, upper bound included; the
// last bucket takes what is longer than 2^24 µs, 16.8 s.
func TestLatencyBuckets(t *testing.T) {
	for _, c := range []struct {
		d      time.Duration
		bucket int
	}{
		{0, 0}, {1, 0}, {time.Microsecond, 0}, {time.Microsecond + 1, 1}, {2 * time.Microsecond, 1}, {2*time.Microsecond + 1, 2}, {4 * time.Microsecond, 2},
		{1024 * time.Microsecond, 10}, {1025 * time.Microsecond, 11}, {1 << 24 * time.Microsecond, 24}, {1<<24*time.Microsecond + 1, 25}, {time.Hour, 25}, {-1, 0},
	} {
		var s stats
		s.took(c.d)
		for i := range s.seconds {
			if got, want := s.seconds[i].Load(), map[bool]uint64{true: 1}[i == c.bucket]; got != want {
				t.Errorf("%v: %d in bucket %d of %d, want it in %d", c.d, got, i, len(s.seconds), c.bucket)
			}
		}
		if s.nanoseconds.Load() != uint64(max(c.d, 0)) {
			t.Errorf("%v: %d ns", c.d, s.nanoseconds.Load())
		}
	}
	if latencies != 26 {
		t.Errorf("%d buckets, want 26: dashboards read them", latencies)
	}
}

// The longest request is as long as the largest frame of the protocol for its rows:
// a step (index and actions of each row) or a reset (index and seed of each).
func TestRequestBytes(t *testing.T) {
	for _, n := range []int{1, 2, 100} {
		for _, s := range []int{1, 2, 3} {
			rows := make([]int, n)
			step := request{header: header{Type: typeStep, Flags: flagSubset, Env: 1, N: uint32(n), Seq: 2}, Ack: 1, Rows: rows, Actions: make([]int32, n*s)}
			reset := request{header: header{Type: typeReset, Flags: flagSubset | flagSeeds, Env: 1, N: uint32(n), Seq: 2}, Ack: 1, Rows: rows, Seeds: make([]uint64, n)}
			if got, want := requestBytes(n, s), max(len(step.append(nil)), len(reset.append(nil))); got != want {
				t.Errorf("%d rows of %d actions: %d bytes, the frames have %d", n, s, got, want)
			}
		}
	}
}

// A text reply may be as long as it is counted, and no longer, of rows asked for or all.
func TestReadableBothSides(t *testing.T) {
	for _, c := range []struct{ d, f int }{{1, 0}, {10, 3}} {
		most := maxReply / (32 * (2*c.d + 2*c.f + 3))
		for n, ok := range map[int]bool{1: true, most: true, most + 1: false} {
			e := &vector{num: n, d: c.d, f: c.f}
			if err := e.readable(nil); (err == nil) != ok {
				t.Errorf("%d rows of %d and %d numbers: %v", n, c.d, c.f, err)
			}
			e.num = most + 1
			if err := e.readable(make([]int, n)); (err == nil) != ok {
				t.Errorf("%d of %d rows of %d and %d numbers: %v", n, e.num, c.d, c.f, err)
			}
		}
	}
}
