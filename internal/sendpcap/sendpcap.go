// Package sendpcap sends a capture's frames out of an interface at their own
// times, and counts what arrives at another.
package sendpcap

import (
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"slices"
	"time"

	"github.com/planegym/planegym/internal/pcap"
)

// Options of Send.
type Options struct {
	Interface string
	Speed     float64     // times are divided by it; > 0
	Times     int         // that the capture is sent; at least 1
	Sent      func(n int) // called now and then with how many more were sent
}

// Sent says what became of a capture.
type Sent struct {
	Frames     int           `json:"frames"`
	Bytes      int64         `json:"bytes"`
	Seconds    float64       `json:"seconds"`
	Asked      float64       `json:"asked_seconds"`
	LateMedian time.Duration `json:"late_median_ns"`
	LateMax    time.Duration `json:"late_max_ns"`
}

// Counted is what arrived: frames of the capture, and others, which a kernel
// sends by itself.
type Counted struct {
	Frames int   `json:"frames"`
	Bytes  int64 `json:"bytes"`
	Others int   `json:"others"`
	// Missed is how many frames the kernel dropped because they were not counted
	// fast enough: they arrived.
	Missed int   `json:"missed"`
	Err    error `json:"-"`
}

// Known tells which frames are a capture's.
type Known struct{ sum map[uint64]bool }

// Know reads a capture.
func Know(path string) (*Known, error) {
	frames, bytes, err := load(path)
	if err != nil {
		return nil, err
	}
	k := &Known{map[uint64]bool{}}
	for _, f := range frames {
		k.sum[crc64.Checksum(bytes[f.from:f.to], table)] = true
	}
	return k, nil
}

var table = crc64.MakeTable(crc64.ECMA)

// frame is one of a capture: ns since its first, and where its bytes are.
type frame struct {
	at       int64
	from, to int
}

// load reads a capture of Ethernet frames.
func load(path string) (frames []frame, bytes []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r, err := pcap.NewReader(f, path)
	if err != nil {
		return nil, nil, err
	}
	var first time.Time
	for p := (pcap.Packet{}); ; {
		err := r.Next(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if p.Link != pcap.Ethernet {
			return nil, nil, fmt.Errorf("%s: packet %d: link type %d is not Ethernet: it cannot be sent", path, len(frames)+1, p.Link)
		}
		if len(frames) == 0 {
			first = p.Time
		}
		frames = append(frames, frame{max(p.Time.Sub(first).Nanoseconds(), 0), len(bytes), len(bytes) + len(p.Data)})
		bytes = append(bytes, p.Data...)
	}
	if len(frames) == 0 {
		return nil, nil, fmt.Errorf("%s: no packet", path)
	}
	slices.SortStableFunc(frames, func(a, b frame) int { return int(min(max(a.at-b.at, -1), 1)) })
	return frames, bytes, nil
}
