package pcap

import (
	"bytes"
	"testing"
	"time"
)

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, Raw)
	if err != nil {
		t.Fatal(err)
	}
	times := []time.Time{time.Unix(0, 1), time.Unix(1<<32-1, 999999999), time.Unix(5, 0)}
	for i, at := range times {
		if err := w.Write(at, bytes.Repeat([]byte{byte(i)}, 100*i)); err != nil {
			t.Fatal(err)
		}
	}
	if w.Write(time.Unix(-1, 0), nil) == nil || w.Write(time.Unix(1<<32, 0), nil) == nil || w.Write(times[0], make([]byte, maxPacket+1)) == nil {
		t.Error("what the format cannot say was written")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&b, "mem")
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range times {
		var p Packet
		if err := r.Next(&p); err != nil || !p.Time.Equal(at) || p.Link != Raw || !bytes.Equal(p.Data, bytes.Repeat([]byte{byte(i)}, 100*i)) {
			t.Errorf("packet %d: %v %+v", i, err, p)
		}
	}
}
