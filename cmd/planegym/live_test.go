package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestLive runs what talks to switches: emulated ones, over real sockets, in
// a multiple of real time.
func TestLive(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/live", Cmds: map[string]func(*testscript.TestScript, bool, []string){
		"freeports": freePorts, "until": until, "agrees": agrees,
	}})
}

// freePorts is a command of the scripts: NAME... sets each variable to a free
// port of the loopback, TCP and UDP. It is below those that systems give to
// sockets that ask for none: tests beside this one do that all the time.
func freePorts(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		for tries := 0; ; tries++ {
			port := 20000 + rand.IntN(12000)
			addr := "127.0.0.1:" + strconv.Itoa(port)
			tcp, err := net.Listen("tcp", addr)
			if err == nil {
				defer tcp.Close() // all are taken at once, so that they differ
				var udp net.PacketConn
				if udp, err = net.ListenPacket("udp", addr); err == nil {
					defer udp.Close()
					ts.Setenv(name, strconv.Itoa(port))
					break
				}
			}
			if tries == 100 {
				ts.Check(err)
			}
		}
	}
}

// until is a command of the scripts: FILE REGEXP waits until a file has what
// matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("until FILE REGEXP")
	}
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	var text []byte
	for range 6000 {
		if text, _ = os.ReadFile(ts.MkAbs(args[0])); want.Match(text) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s has no %s within 5 minutes:\n%s", args[0], args[1], text)
}

// agrees is a command of the scripts: JOURNAL LIMITS compares, switch by
// switch, what the journal says was read back with what came into force there.
func agrees(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("agrees JOURNAL... LIMITS")
	}
	read := func(name string, each func(line []byte)) {
		text, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
			each(in.Bytes())
		}
	}
	type entry struct {
		Time  time.Time
		Event string
		Got   []struct {
			Switch string
			Limit  int
			Error  string
		}
	}
	var entries []entry
	for _, name := range args[:len(args)-1] {
		read(name, func(line []byte) {
			var e entry
			ts.Check(json.Unmarshal(line, &e))
			entries = append(entries, e)
		})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return a.Time.Compare(b.Time) })
	journal, force := map[string][]int{}, map[string][]int{}
	sets := 0
	for _, e := range entries {
		for _, g := range e.Got {
			if e.Event == "set" && g.Error == "" {
				journal[g.Switch] = append(journal[g.Switch], g.Limit)
				sets++
			}
		}
	}
	read(args[len(args)-1], func(line []byte) {
		var e struct {
			Switch string
			Limit  int
		}
		ts.Check(json.Unmarshal(line, &e))
		force[e.Switch] = append(force[e.Switch], e.Limit)
	})
	for sw, want := range force {
		// The first is what the switch booted with.
		got := slices.Compact(append(want[:1:1], journal[sw]...))
		if !slices.Equal(got, want) {
			ts.Fatalf("switch %s: the journal has\n%v\nin force were\n%v", sw, got, want)
		}
		ts.Logf("switch %s: %d changes agree", sw, len(want)-1)
	}
	if len(force) == 0 || sets == 0 {
		ts.Fatalf("nothing to compare: %d switches, %d sets", len(force), sets)
	}
}
