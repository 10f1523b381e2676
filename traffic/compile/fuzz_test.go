package compile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/legal"
	"github.com/planegym/planegym/traffic/store"
)

// Whatever a capture holds, its sessions become packets that break no rule, and
// where no action was changed they are read again as the same actions.
func FuzzCaptureToPackets(f *testing.F) {
	s := odd()
	for i := 0; i < len(s.Sessions); i += 97 {
		one := *s
		one.Sessions = s.Sessions[i : i+1]
		b, _ := compiled(f, &one, Options{})
		f.Add(b)
	}
	if dir := os.Getenv("PLANEGYM_DATA"); dir != "" {
		if b, err := os.ReadFile(filepath.Join(dir, "traffic", "captures", "youtube.pcap")); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, capture []byte) {
		set, _, err := flows.Read(bytes.NewReader(capture), "fuzz", flows.Options{})
		if err != nil {
			return
		}
		if err := set.Valid(); err != nil {
			t.Fatal(err)
		}
		var check legal.Checker
		var out bytes.Buffer
		w, err := pcap.NewWriter(&out, pcap.Raw)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Packets(context.Background(), &set.Of, store.All(set), Options{Raw: true}, func(at time.Time, ip []byte) error {
			if why := check.Add(uint16(pcap.Raw), ip); why != "" {
				t.Errorf("packet %d: %s", check.Counts.Packets, why)
			}
			return w.Write(at, ip)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if r.Whole < r.Sessions || r.Why["sessions out of order: start moved"] > 0 {
			return
		}
		if err := sameActions(set, again(t, out.Bytes())); err != nil {
			t.Error(err)
		}
	})
}
