package deploy

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/sim"
	"github.com/planegym/planegym/scenarios"
	"github.com/planegym/planegym/telemetry/intreport"
)

// seeded is a policy that always takes an action and keeps what its episodes
// were begun with.
type seeded struct {
	action int32
	begun  []uint64
}

func (s *seeded) Begin(_ []int, seeds []uint64) { s.begun = append(s.begun, seeds...) }
func (s *seeded) Act(_ []int, _ []float32, actions []int32) {
	for i := range actions {
		actions[i] = s.action
	}
}

// network lets probes and the player of a rig speak, every 200 ms until the test
// ends: depths are 10 at the first switch, 11 at the second, 12 at the third, the
// player has 25 s of video. It returns where its log is.
func network(r *rig) string {
	log := filepath.Join(r.TempDir(), "dash.csv")
	f, err := os.Create(log)
	if err != nil {
		r.Fatal(err)
	}
	fmt.Fprintln(f, "timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate")
	began := time.Now()
	frame := func() []byte {
		probe, now := &intreport.Report{Format: intreport.Probe}, uint64(time.Since(began)) // since the switches started
		for i := range uint32(3) {
			probe.Hops = append(probe.Hops, intreport.Hop{
				Has:    intreport.HasSwitch | intreport.HasPorts | intreport.HasQueue | intreport.HasIngressTime | intreport.HasEgressTime | intreport.HasWait,
				Switch: i + 1, Depth: 10 + i, DeqDepth: 3, IngressTime: now - 5000, EgressTime: now, Wait: 5000,
			})
		}
		b, err := intreport.AppendProbeFrame(nil, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), probe)
		if err != nil {
			r.Error(err)
		}
		return b
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.Close()
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
				r.s[0].PacketIn(1, frame())
				fmt.Fprintf(f, "%d;25;30;1867;1280x720;4000\n", time.Now().UnixMilli())
			}
		}
	}()
	r.Cleanup(func() { <-done })
	return log
}

// lab is a deployment on a rig's switches, whose telemetry comes by packet in and
// whose player writes a log.
func lab(r *rig) Config {
	s := scenarios.Scenario{Name: "lab", Plant: "live", Live: scenarios.Live{Switches: r.inv}}
	s.Live.Safe, s.Live.Probes.PacketIn, s.Live.Probes.TickNS, s.Live.Player.Log, s.Live.Player.NoStalls = safe, true, 1000, network(r), true
	s.Env.Limits, s.Env.Initial, s.Env.MaxSteps, s.Env.Observation.Normalise = []p4.Limit{safe, usual}, usual, 2, "none"
	return Config{Scenario: s, Name: "lab.toml", Journal: filepath.Join(r.TempDir(), "journal.jsonl"), For: 12 * time.Second, Autoreset: env.Disabled}
}

// A whole deployment, from Open to Close: the limits, the recording and the journal. Episodes of two steps end after two, endless ones do not; a shadow sets
// nothing.
func TestDeploymentInMemory(t *testing.T) {
	for _, c := range []struct {
		name            string
		shadow, endless bool
		episodes        int
		inForce         p4.Limit // while it runs
		says            []string
	}{
		{"two steps an episode", false, false, 2, usual, []string{
			`"event":"begin","why":"x acts in lab.toml, unguarded"`, `"event":"set","why":"policy","step":3,"asked":[64,64,64],"got":[{"switch":"s1","port":1,"limit":64}`, `"event":"set","why":"close"`}},
		{"endless", false, true, 1, usual, []string{`"event":"step","step":3,"asked":[64],"reward":`, `"event":"end","step":3}`}},
		{"a shadow", true, true, 1, safe, []string{`"event":"begin","why":"x decides in lab.toml, no limit is set"`, `"event":"decide","why":"policy","step":3,"asked":[64,64,64],"got":[{"switch":"s1","port":1,"limit":32}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, sim.Strict)
				if c.shadow { // of switches that another agent holds
					r.open()
					r.mustSet(safe)
				}
				cfg := lab(r)
				out := t.TempDir()
				cfg.Shadow, cfg.Endless = c.shadow, c.endless
				if !c.shadow {
					cfg.Record = &Record{Dir: out, Limit: usual}
				} else {
					cfg.Scenario.Live.Probes.PacketIn = false // which the primary gets
					cfg.Scenario.Live.PatienceS = 5
				}
				begun, p := time.Now(), &seeded{action: 1}
				cfg.Step = func(s Step) {
					r.inForce(c.inForce, c.inForce, c.inForce)
					if !slices.Equal(s.Limits, []p4.Limit{usual}) || s.Player[0] != 25 || s.Player[1] != 30 || s.Player[2] != 1867 {
						t.Errorf("%+v", s)
					}
				}
				d, err := Open(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				err = d.Run(p, "x")
				if c.shadow { // it lives on telemetry, and gives up where none comes
					if err == nil || !strings.Contains(err.Error(), "nothing of switch 1 yet") || time.Since(begun) > 10*time.Second {
						t.Errorf("without telemetry: %v after %v", err, time.Since(begun))
					}
					r.inForce(safe, safe, safe)
					_ = d.Close(nil)
					return
				}
				if err := d.Close(err); err != nil {
					t.Fatal(err)
				}
				// A second to see whether telemetry comes, a window to reset in, and those of the steps; and
				// how long telemetry may take to settle. The second episode needs no such second.
				if took, windows := time.Since(begun), time.Duration(3+c.episodes); took < windows*4*time.Second || took > windows*5*time.Second {
					t.Errorf("it took %v", took)
				}
				r.inForce(safe, safe, safe)
				if !slices.Equal(p.begun, []uint64{0, 1}[:c.episodes]) {
					t.Errorf("episodes begun with %v", p.begun)
				}
				journal, err := os.ReadFile(cfg.Journal)
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range c.says {
					if !strings.Contains(string(journal), want) {
						t.Errorf("the journal lacks %s:\n%s", want, journal)
					}
				}
				var names []string
				for _, f := range d.Summary().Files {
					names = append(names, filepath.Base(f))
				}
				grid, err := os.ReadFile(filepath.Join(out, "grid_64.csv"))
				if err != nil || !slices.Equal(names, []string{"int_64.csv", "dash_64.csv", "grid_64.csv"}) {
					t.Fatalf("%v, %v", names, err)
				}
				// Each step's window and the reset's, of four seconds, were recorded; each line is what all said.
				lines := strings.Split(strings.TrimSpace(string(grid)), "\n")[1:]
				if n := len(lines); n < 4*(3+c.episodes)-3 || n > 4*(3+c.episodes)+3 {
					t.Errorf("%d seconds recorded", n)
				}
				for _, line := range lines {
					if !strings.Contains(line, ",64,10,5,3,11,5,3,12,5,3,25,30,1867,4000,") {
						t.Errorf("recorded: %s", line)
					}
				}
			})
		})
	}
}
