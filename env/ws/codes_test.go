package ws

import (
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
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
