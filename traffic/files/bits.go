package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/planegym/planegym/internal/atomicfile"
	"github.com/planegym/planegym/internal/pcap"
	"github.com/planegym/planegym/traffic/nprint"
	"github.com/planegym/planegym/traffic/packet"
)

// Bits writes the header bits of every IP packet of captures to a table of
// nPrint, as nPrint does: in the captures' order, with addresses, without times.
// Packets other than IP, and those cut within a header, are counted. done is
// called after each capture.
func Bits(ctx context.Context, out string, captures []string, done func()) (*Converted, error) {
	r := &Converted{Output: out, Left: map[string]int{}}
	return r, atomicfile.Write(out, func(w io.Writer) error {
		t, err := nprint.NewWriter(w)
		if err != nil {
			return err
		}
		for _, path := range captures {
			if err := r.bits(ctx, path, t); err != nil {
				return err
			}
			done()
		}
		if r.Rows == 0 {
			return fmt.Errorf("files: none of %d packets is an IP packet", r.Packets)
		}
		return t.Flush()
	})
}

func (r *Converted) bits(ctx context.Context, path string, t *nprint.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := pcap.NewReader(f, path)
	if err != nil {
		return fmt.Errorf("header bits are of captures: %w", err)
	}
	var row nprint.Row
	for p := (pcap.Packet{}); ; {
		switch err := in.Next(&p); {
		case errors.Is(err, io.EOF):
			return ctx.Err()
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		r.Packets++
		ip, frame, err := packet.Strip(uint16(p.Link), p.Data)
		switch {
		case errors.Is(err, packet.ErrLink):
			r.Left[fmt.Sprintf("link type %d", p.Link)]++
			continue
		case err == nil && ip == nil:
			r.Left[fmt.Sprintf("not IP: type %#04x", frame.Type)]++
			continue
		case err == nil:
			err = row.Encode(ip)
		}
		if err != nil {
			r.Left[err.Error()]++
			continue
		}
		if err := t.Write(&row); err != nil {
			return err
		}
		r.Rows++
	}
}
