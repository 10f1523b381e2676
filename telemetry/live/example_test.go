package live_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/planegym/planegym/telemetry"
	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

// Two seconds of one switch and a player, after the fact. A live run listens
// with ServeUDP and serves Player, and its windows wait until they are over.
func Example() {
	c, err := live.New(live.Config{Switches: []uint32{1}, Aggregate: telemetry.Max})
	if err != nil {
		panic(err)
	}
	start := time.Now().Add(-time.Minute)
	c.Report(start.Add(300*time.Millisecond), &intreport.Report{Hops: []intreport.Hop{{
		Has: intreport.HasSwitch | intreport.HasQueue | intreport.HasLatency, Switch: 1, Depth: 31, Latency: 35_000_000,
	}}})
	sent := start.Add(1500 * time.Millisecond).UnixMilli()
	post := httptest.NewRequest(http.MethodPost, fmt.Sprintf("/?now=%d", time.Now().UnixMilli()),
		strings.NewReader(fmt.Sprintf(`{"timestamp": %d, "Buffer": 12, "FPS": 30}`, sent)))
	c.Player().ServeHTTP(httptest.NewRecorder(), post)

	columns := c.Columns()
	values, valid := make([]float32, 2*len(columns)), make([]bool, 2*len(columns))
	age, err := c.Window(context.Background(), start, values, valid)
	if err != nil {
		panic(err)
	}
	for i, f := range columns[:5] {
		fmt.Println(f.Name, values[i], valid[i], values[len(columns)+i], valid[len(columns)+i])
	}
	fmt.Println("switch 1 was last heard", age.Switches[0], "before the end")
	// Output:
	// enq_qdepth1 31 true 31 false
	// deq_timedelta1 35000 true 35000 false
	// deq_qdepth1 0 false 0 false
	// lbo_s 0 false 12 true
	// fps 0 false 30 true
	// switch 1 was last heard 1.7s before the end
}
