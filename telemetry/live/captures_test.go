package live_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/telemetry/intreport"
	"github.com/planegym/planegym/telemetry/live"
)

// TestPublicCaptures: of nDPI's public test captures, of hundreds of protocols
// and none of them INT, no packet is a probe or a report.
func TestPublicCaptures(t *testing.T) {
	dir := os.Getenv("PLANEGYM_DATA")
	if dir == "" {
		t.Skip("PLANEGYM_DATA is not set: the public captures are not here")
	}
	f, err := os.Open(filepath.Join(dir, "traffic", "ndpi_small.tar.gz"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the public captures are not here: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	d, err := intreport.NewDecoder(intreport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	files, packets := 0, 0
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".pcap") && !strings.HasSuffix(h.Name, ".pcapng") {
			continue
		}
		r, err := pcap.NewReader(in, h.Name)
		if err != nil {
			continue // another format by this name
		}
		files++
		var p pcap.Packet
		for r.Next(&p) == nil {
			packets++
			err := live.Decode(d, uint16(p.Link), p.Data, func(r *intreport.Report) {
				t.Errorf("%s, packet %d: %v of node %d, %d hops", h.Name, packets, r.Format, r.Node, len(r.Hops))
			})
			if !errors.Is(err, intreport.ErrForeign) {
				t.Errorf("%s: %v", h.Name, err)
			}
		}
	}
	if t.Logf("%d packets of %d captures", packets, files); files < 400 {
		t.Errorf("%d captures, want 400 and more", files)
	}
}
