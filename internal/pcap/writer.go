package pcap

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Writer writes a pcap file with times in nanoseconds.
type Writer struct {
	out  *bufio.Writer
	head [16]byte
}

// NewWriter begins a file of packets that begin with link. The caller calls
// Flush after the last.
func NewWriter(w io.Writer, link Link) (*Writer, error) {
	d := &Writer{out: bufio.NewWriterSize(w, 1<<16)}
	var b [24]byte
	binary.LittleEndian.PutUint32(b[:], magicNano)
	binary.LittleEndian.PutUint16(b[4:], 2)
	binary.LittleEndian.PutUint16(b[6:], 4)
	binary.LittleEndian.PutUint32(b[16:], 1<<18) // snap length, as tcpdump's
	binary.LittleEndian.PutUint32(b[20:], uint32(link))
	if _, err := d.out.Write(b[:]); err != nil {
		return nil, fmt.Errorf("pcap: write: %w", err)
	}
	return d, nil
}

// Write writes a packet that was as long as it is. Times are from 1970 to 2106.
func (d *Writer) Write(t time.Time, data []byte) error {
	s := t.Unix()
	if s < 0 || s >= 1<<32 {
		return fmt.Errorf("pcap: write: the format has no time %v", t)
	}
	if len(data) > maxPacket {
		return fmt.Errorf("pcap: write: a packet of %d bytes, at most %d", len(data), maxPacket)
	}
	binary.LittleEndian.PutUint32(d.head[:], uint32(s))
	binary.LittleEndian.PutUint32(d.head[4:], uint32(t.Nanosecond()))
	binary.LittleEndian.PutUint32(d.head[8:], uint32(len(data)))
	binary.LittleEndian.PutUint32(d.head[12:], uint32(len(data)))
	if _, err := d.out.Write(d.head[:]); err != nil {
		return fmt.Errorf("pcap: write: %w", err)
	}
	if _, err := d.out.Write(data); err != nil {
		return fmt.Errorf("pcap: write: %w", err)
	}
	return nil
}

// Flush writes what is buffered.
func (d *Writer) Flush() error {
	if err := d.out.Flush(); err != nil {
		return fmt.Errorf("pcap: write: %w", err)
	}
	return nil
}
