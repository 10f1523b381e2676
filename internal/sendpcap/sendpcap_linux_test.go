package sendpcap

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planegym/planegym/internal/pcap"
)

// pair puts the test's thread into a network namespace of its own with a veth
// pair, left and right.
func pair(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a network namespace takes root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is not installed")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("unshare: %v", err)
	}
	for _, args := range []string{"link add left type veth peer name right", "link set left mtu 9000 up", "link set right mtu 9000 up"} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", args, err, out)
		}
	}
}

func capture(t *testing.T, n int, gap time.Duration) string {
	t.Helper()
	var b bytes.Buffer
	w, err := pcap.NewWriter(&b, pcap.Ethernet)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f := make([]byte, 60+i%1400)
		copy(f, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, byte(i), byte(i >> 8)}) // a local experiment's type
		if err := w.Write(time.Unix(1000, 0).Add(time.Duration(i)*gap), f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// All that is sent arrives, in the time that its own times ask for.
func TestPair(t *testing.T) {
	pair(t)
	path := capture(t, 2000, 200*time.Microsecond)
	known, err := Know(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("right")
	if err != nil {
		t.Fatal(err)
	}
	sent, counted := make(chan struct{}), make(chan Counted, 1)
	go func() { counted <- l.Count(t.Context(), known, sent) }()
	r, err := Send(t.Context(), path, Options{Interface: "left", Speed: 2, Times: 2})
	close(sent)
	if err != nil {
		t.Fatal(err)
	}
	c := <-counted
	if r.Frames != 4000 || c.Frames != 4000 || c.Bytes != r.Bytes || c.Err != nil {
		t.Errorf("sent %+v, arrived %+v", r, c)
	}
	if r.Asked < .39 || r.Asked > .41 || r.Seconds < r.Asked {
		t.Errorf("%.3f s, asked for %.3f", r.Seconds, r.Asked)
	}
	t.Logf("late by %v in the median, %v at the most", r.LateMedian, r.LateMax)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Send(ctx, path, Options{Interface: "left", Speed: 1, Times: 1}); err == nil {
		t.Error("no error after cancel")
	}
	if _, err := Send(t.Context(), path, Options{Interface: "nowhere", Speed: 1, Times: 1}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("error %v", err)
	}
}

// tcpreplay sends the same file, and all of it arrives too.
func TestTcpreplay(t *testing.T) {
	tcpreplay, err := exec.LookPath("tcpreplay")
	if err != nil {
		t.Skip("tcpreplay is not installed")
	}
	pair(t)
	path := capture(t, 1000, time.Microsecond)
	known, err := Know(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("right")
	if err != nil {
		t.Fatal(err)
	}
	sent, counted := make(chan struct{}), make(chan Counted, 1)
	go func() { counted <- l.Count(t.Context(), known, sent) }()
	out, err := exec.CommandContext(t.Context(), tcpreplay, "-i", "left", "--pps=5000", path).CombinedOutput()
	close(sent)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if c := <-counted; c.Frames != 1000 {
		t.Errorf("%d of 1000 frames arrived: %s", c.Frames, out)
	}
}
