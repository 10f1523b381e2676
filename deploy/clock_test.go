package deploy

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry/intreport"
)

// TestClockUnit: where a switch's stamps count microseconds and the scenario
// says nanoseconds, listening fails and names what to set, and a window is an
// error: its reports would lie in seconds that they are not of.
func TestClockUnit(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().String()
	conn.Close()
	var s scenarios.Scenario
	s.Live.Switches = inventory.Inventory{{}}
	s.Live.Switches[0].Name = "edge"
	s.Live.Probes.UDP, s.Live.Player.HTTP = addr, "127.0.0.1:0"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // sends until ctx ends
		defer close(done)
		to, err := net.Dial("udp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		for seq := uint32(0); ctx.Err() == nil; seq++ {
			now := uint64(time.Now().UnixMicro())
			b, err := intreport.Append(nil, intreport.Config{}, &intreport.Report{Format: intreport.V20, Node: 1, Seq: seq, Hops: []intreport.Hop{{
				Has: intreport.HasSwitch | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime, Switch: 1, IngressTime: now - 50, EgressTime: now,
			}}})
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = to.Write(b) // there is no listener between the two
			time.Sleep(50 * time.Millisecond)
		}
	}()
	defer func() { cancel(); <-done }()
	found, err := Listen(ctx, s, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if f := found[0]; f.Level != Failed || !strings.Contains(f.Says, "1000 times too slowly: set tick_ns = 1000") {
		t.Errorf("%+v", f)
	}
	for _, c := range []struct {
		tick int
		want string
	}{{1, "live.probes: edge: its times go 1000 times too slowly: set tick_ns = 1000"}, {1000, ""}} {
		s.Live.Probes.TickNS = c.tick
		source, err := openTelemetry(s.Live, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		values, valid := make([]float32, 2*len(source.Columns())), make([]bool, 2*len(source.Columns()))
		_, err = source.Window(ctx, time.Now(), values, valid)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("tick_ns %d: %v", c.tick, err)
		}
		if err := source.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}
