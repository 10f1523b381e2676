package pcap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planegym/planegym/internal/pcap"
)

// text reads all packets, a line each: time, link type, data.
func text(r io.Reader) (string, error) {
	d, err := pcap.NewReader(r, "f")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	var p pcap.Packet
	for {
		switch err := d.Next(&p); {
		case errors.Is(err, io.EOF):
			return b.String(), nil
		case err != nil:
			return b.String(), err
		}
		fmt.Fprintf(&b, "%s %d %x\n", p.Time.Format("15:04:05.000000000"), p.Link, p.Data)
	}
}

// TestScapy reads what scapy 2.8.0 wrote of three packets.
func TestScapy(t *testing.T) {
	const ip = "020000000002020000000001080045000021000100004011"
	for _, name := range []string{"scapy.pcap", "scapy_nano_be.pcap", "scapy.pcapng"} {
		f, err := os.Open(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := text(f)
		f.Close()
		lines := strings.Split(got, "\n")
		if err != nil || len(lines) != 4 || !strings.HasPrefix(lines[0], "22:13:20.250000") || !strings.Contains(lines[0], " 1 "+ip) ||
			!strings.HasSuffix(lines[0], "4141414141") || !strings.HasPrefix(lines[2], "22:13:20.250250") || !strings.HasSuffix(lines[2], "43434343434343") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// file builds files in a byte order.
type file struct {
	order binary.AppendByteOrder
	b     []byte
}

func (f *file) u16(v ...uint16) *file {
	for _, v := range v {
		f.b = f.order.AppendUint16(f.b, v)
	}
	return f
}

func (f *file) u32(v ...uint32) *file {
	for _, v := range v {
		f.b = f.order.AppendUint32(f.b, v)
	}
	return f
}

func (f *file) block(kind uint32, body func(*file)) *file {
	in := &file{order: f.order}
	body(in)
	for len(in.b)%4 != 0 {
		in.b = append(in.b, 0)
	}
	n := uint32(len(in.b) + 12)
	f.u32(kind, n)
	f.b = append(f.b, in.b...)
	return f.u32(n)
}

func (f *file) section() *file {
	return f.block(0x0a0d0d0a, func(f *file) { f.u32(0x1a2b3c4d).u16(1, 0).u32(0xffffffff, 0xffffffff) })
}

func ng(order binary.AppendByteOrder) []byte {
	f := (&file{order: order}).section()
	f.block(1, func(f *file) { f.u16(1, 0).u32(0) }) // Ethernet, µs
	f.block(1, func(f *file) {                       // IP, ns, an hour later; a comment
		f.u16(101, 0).u32(0).u16(1, 3)
		f.b = append(f.b, "abc\x00"...)
		f.u16(9, 1)
		f.b = append(f.b, 9, 0, 0, 0)
		f.u16(14, 8)
		if order.AppendUint16(nil, 1)[0] == 1 {
			f.u32(3600, 0)
		} else {
			f.u32(0, 3600)
		}
		f.u32(0)
	})
	f.block(1, func(f *file) { f.u16(113, 0).u32(0).u16(9, 1); f.b = append(f.b, 0x80|10, 0, 0, 0) }) // 2^-10 s
	f.block(5, func(f *file) { f.u32(1, 2, 3) })                                                      // statistics
	f.block(6, func(f *file) { f.u32(0, 0, 1_500_000, 3, 60); f.b = append(f.b, "one"...) })
	f.block(6, func(f *file) { f.u32(1, 0, 1_000_000_007, 5, 5); f.b = append(f.b, "twotw"...) })
	f.block(6, func(f *file) { f.u32(2, 1, 512, 1, 1); f.b = append(f.b, '3') })
	f.block(2, func(f *file) { f.u16(0, 9).u32(0, 2_000_001, 4, 4); f.b = append(f.b, "four"...) })
	f.block(3, func(f *file) { f.u32(5); f.b = append(f.b, "fives"...) })
	f.section() // forgets the interfaces
	f.block(1, func(f *file) { f.u16(228, 0).u32(2) })
	f.block(3, func(f *file) { f.u32(5); f.b = append(f.b, "si"...) }) // cut by the interface
	return f.b
}

func TestNG(t *testing.T) {
	const want = "00:00:01.500000000 1 6f6e65\n01:00:01.000000007 101 74776f7477\n13:05:04.500000000 113 33\n00:00:02.000001000 1 666f7572\n" +
		"00:00:00.000000000 1 6669766573\n00:00:00.000000000 228 7369\n"
	// 2^32 ticks of 2^-10 s are 48 days and 13:05:04.
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		b := ng(order)
		got, err := text(bytes.NewReader(b))
		if err != nil || got != want {
			t.Errorf("%v: %v\n%s", order, err, got)
		}
		for n := range b { // cut anywhere it is an error or ends early
			if got, _ := text(bytes.NewReader(b[:n])); !strings.HasPrefix(want, got) {
				t.Fatalf("cut at %d: %s", n, got)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	classic := func() *file {
		f := (&file{order: binary.LittleEndian}).u32(0xa1b2c3d4).u16(2, 4).u32(0, 0, 65536, 1)
		f.u32(1, 2, 3, 3)
		f.b = append(f.b, "abc"...)
		return f
	}
	le := func() *file { return (&file{order: binary.LittleEndian}).section() }
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "f: byte 0: magic: 0x0: want a pcap or pcapng file"},
		{"text", []byte(strings.Repeat("timestamp", 9)), "f: byte 0: magic: 0x656d6974: want the magic number"},
		{"header", classic().b[:20], "f: byte 0: file header: 0x14: want 24 bytes: the file was cut"},
		{"length", classic().u32(1, 2, 1<<31, 1<<31).b, "captured length: 0x80000000: want at most 1048576 bytes"},
		{"order", (&file{order: binary.LittleEndian}).u32(0x0a0d0d0a, 28, 7).b, "byte-order magic: 0x7000000: want 0x1a2b3c4d"},
		{"block", le().u32(6, 13).b, "block length: 0xd: want a multiple of 4 from 12 to 1048576"},
		{"short block", le().u32(6, 8).b, "block length: 0x8: want a multiple of 4 from 12"},
		{"huge block", le().u32(6, 1<<31).b, "block length: 0x80000000"},
		{"trailer", le().u32(99, 12, 16).b, "block length: 0x10: want 0xc as at its beginning"},
		{"interface", le().block(6, func(f *file) { f.u32(0, 0, 0, 0, 0) }).b, "interface: 0x0: want one of the 0 described"},
		{"no description", le().block(3, func(f *file) { f.u32(0) }).b, "simple packet block: 0x4: want 4 bytes after the description"},
		{"description", le().block(1, func(f *file) { f.u32(0) }).b, "interface block: 0x4: want 8 bytes"},
		{"resolution", le().block(1, func(f *file) { f.u32(0, 0).u16(9, 1); f.b = append(f.b, 20) }).b, "if_tsresol: 0x14: want at most"},
		{"packet block", le().block(6, func(f *file) { f.u32(0) }).b, "packet block: 0x4: want 20 bytes"},
		{"captured", le().block(1, func(f *file) { f.u32(1, 0) }).block(6, func(f *file) { f.u32(0, 0, 0, 9, 9, 0) }).b, "captured length: 0x9: want at most the block's 4 bytes"},
	} {
		_, err := text(bytes.NewReader(c.b))
		var typed *pcap.Error
		if !errors.As(err, &typed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := text(io.MultiReader(bytes.NewReader(classic().b), failing{})); err == nil || !strings.Contains(err.Error(), "read f at byte 43: broken") {
		t.Errorf("%v", err)
	}
}

// TestCut: of a capture that ends within a packet all whole ones are read, and
// the end is an error of its own.
func TestCut(t *testing.T) {
	for _, name := range []string{"scapy.pcap", "scapy.pcapng"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for n := len(b) - 1; n > 24; n-- {
			got, err := text(bytes.NewReader(b[:n]))
			whole := strings.Count(got, "\n")
			var cut *pcap.CutError
			if errors.As(err, &cut) && (cut.Packets != whole || cut.File != "f" || cut.Offset > int64(n)) || err != nil && cut == nil {
				t.Fatalf("%s, cut at %d: %v after %d packets", name, n, err, whole)
			}
			if err == nil && n == len(b)-1 {
				t.Errorf("%s, cut at %d: no error", name, n)
			}
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func FuzzReader(f *testing.F) {
	files, err := filepath.Glob("testdata/*.pcap*")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(ng(binary.LittleEndian))
	f.Add(ng(binary.BigEndian))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := text(bytes.NewReader(b))
		var typed *pcap.Error
		var cut *pcap.CutError
		switch {
		case err == nil:
		case errors.As(err, &cut):
			if cut.Offset < 0 || cut.Offset > int64(len(b)) || cut.Packets != strings.Count(got, "\n") {
				t.Fatalf("%v after %d packets of %d bytes", err, strings.Count(got, "\n"), len(b))
			}
		case !errors.As(err, &typed) || typed.Offset < 0 || typed.Offset > int64(len(b)) || typed.Want == "":
			t.Fatal(err)
		}
	})
}
