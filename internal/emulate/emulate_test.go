package emulate_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/planegym/planegym/env/plant/testbed"
	"github.com/planegym/planegym/internal/emulate"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/p4rt"
	"github.com/planegym/planegym/telemetry/live"
)

// TestEmulation: what leaves the emulated switches by each way is what a
// collector takes, and a limit written over P4Runtime bounds the queue.
func TestEmulation(t *testing.T) {
	second := 10 * time.Millisecond
	open := func() *live.Collector {
		c, err := live.New(live.Config{Switches: []uint32{1, 2, 3}, Second: second, Settle: 100 * time.Millisecond, Stalls: true})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	reports, probes := open(), open()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if err := reports.ServeUDP(ctx, conn); err != nil {
			t.Error(err)
		}
	})
	handler := reports.Player()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer web.Close()
	var mu sync.Mutex
	changed := map[int][]p4.Limit{}
	e, err := emulate.Open(emulate.Config{
		Testbed: testbed.Config{}, Depths: []p4.Limit{8, 64}, Scale: float64(time.Second / second), UDP: conn.LocalAddr().String(), HTTP: web.URL,
		Changed: func(sw int, _ p4.Port, l p4.Limit) {
			mu.Lock()
			changed[sw] = append(changed[sw], l)
			mu.Unlock()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var last *p4rt.Client
	for i, s := range e.Servers() {
		c, err := p4rt.Open(p4rt.Config{Switch: inventory.Switch{Target: s.Addr(), DeviceID: uint64(i + 1), Ports: []p4.Port{emulate.Port}, Queues: []p4.Limit{8, 64}}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetLimit(t.Context(), emulate.Port, 64); err != nil {
			t.Fatal(err)
		}
		last = c
	}
	wg.Go(func() {
		for {
			select {
			case p := <-last.Packets():
				probes.Frame(time.Now(), p.Payload)
			case <-ctx.Done():
				return
			}
		}
	})
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	// top collects until enough seconds are heard of: a busy machine loses some.
	top := func(c *live.Collector, enough int) (depth float32) {
		heard, played := 0, 0
		const seconds = 20
		f := len(c.Columns())
		values, valid := make([]float32, seconds*f), make([]bool, seconds*f)
		for try := 0; try < 100 && (heard < enough || c == reports && played < enough); try++ {
			if _, err := c.Window(ctx, time.Now(), values, valid); err != nil {
				t.Fatal(err)
			}
			for i := range seconds {
				if valid[i*f] {
					heard++
					depth = max(depth, values[i*f])
				}
				if valid[i*f+9] && values[i*f+10] >= 18 {
					played++
				}
			}
		}
		if heard < enough || c == reports && played < enough {
			t.Errorf("heard of %d seconds, of the player in %d, want %d: %+v", heard, played, enough, c.Stats())
		}
		return depth
	}
	for name, c := range map[string]*live.Collector{"reports": reports, "probes": probes} {
		if depth := top(c, 60); depth <= 8 {
			t.Errorf("%s: depth up to %v under limit 64", name, depth)
		}
	}
	mu.Lock()
	for sw := range 3 {
		if got := changed[sw]; len(got) != 2 || got[0] != 8 || got[1] != 64 {
			t.Errorf("switch %d had limits %v, want 8 when it starts, then 64", sw+1, got)
		}
	}
	mu.Unlock()
	last.Close()
	for i, s := range e.Servers() {
		c, err := p4rt.Open(p4rt.Config{Switch: inventory.Switch{Target: s.Addr(), DeviceID: uint64(i + 1), Ports: []p4.Port{emulate.Port}, Queues: []p4.Limit{8, 64}, Election: p4rt.Election{High: 5}}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetLimit(t.Context(), emulate.Port, 8); err != nil {
			t.Fatal(err)
		}
	}
	top(reports, 4) // what is under way
	if depth := top(reports, 60); depth > 8 {
		t.Errorf("depth %v under limit 8", depth)
	}
	for _, s := range []live.Stats{reports.Stats(), probes.Stats()} {
		if s.Malformed > 0 || s.Foreign > 0 || s.Unknown > 0 || s.BadSamples > 0 {
			t.Errorf("%+v", s)
		}
	}
}
