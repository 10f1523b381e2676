// Package nprint converts packets to nPrint's table of header bits and back (Holland
// et al., CCS 2021; nPrint 1.2.1's columns). A cell is a bit, 0 or 1, or -1
// where the packet has no such header or option.
package nprint

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// field is a run of columns NAME_0…NAME_{bits-1}.
type field struct {
	name string
	bits int
}

// header is a protocol's columns: as many as its header has at most.
type header struct {
	name   string
	fields []field
}

var headers = []header{
	{"ipv4", []field{{"ver", 4}, {"hl", 4}, {"tos", 8}, {"tl", 16}, {"id", 16}, {"rbit", 1}, {"dfbit", 1}, {"mfbit", 1}, {"foff", 13},
		{"ttl", 8}, {"proto", 8}, {"cksum", 16}, {"src", 32}, {"dst", 32}, {"opt", 320}}},
	{"ipv6", []field{{"ver", 4}, {"tc", 8}, {"fl", 20}, {"len", 16}, {"nh", 8}, {"hl", 8}, {"src", 128}, {"dst", 128}}},
	{"tcp", []field{{"sprt", 16}, {"dprt", 16}, {"seq", 32}, {"ackn", 32}, {"doff", 4}, {"res", 3}, {"ns", 1}, {"cwr", 1}, {"ece", 1}, {"urg", 1},
		{"ackf", 1}, {"psh", 1}, {"rst", 1}, {"syn", 1}, {"fin", 1}, {"wsize", 16}, {"cksum", 16}, {"urp", 16}, {"opt", 320}}},
	{"udp", []field{{"sport", 16}, {"dport", 16}, {"len", 16}, {"cksum", 16}}},
	{"icmp", []field{{"type", 8}, {"code", 8}, {"cksum", 16}, {"roh", 32}}},
}

// The first column of each header in a Row, and the row's width.
const (
	ipv4  = 0
	ipv6  = 480
	tcp   = 800
	udp   = 1280
	icmp  = 1344
	Width = 1408
)

// Row is one packet's cells.
type Row [Width]int8

// Columns are the names of a row's cells, without src_ip.
func Columns() []string {
	c := make([]string, 0, Width)
	for _, h := range headers {
		for _, f := range h.fields {
			for i := range f.bits {
				c = append(c, h.name+"_"+f.name+"_"+strconv.Itoa(i))
			}
		}
	}
	return c
}

// Errors that callers count.
var (
	ErrPacket = errors.New("nprint: no IP packet with a whole header")
	ErrRow    = errors.New("nprint: impossible row")
)

// put writes the bits of b from a column on.
func (r *Row) put(at int, b []byte) {
	for i, x := range b {
		for k := range 8 {
			r[at+8*i+k] = int8(x >> (7 - k) & 1)
		}
	}
}

// take reads n bytes from a column on; -1 reads as 0.
func (r *Row) take(at, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		for k := range 8 {
			if r[at+8*i+k] == 1 {
				b[i] |= 1 << (7 - k)
			}
		}
	}
	return b
}

// Encode fills r with the headers of an IP packet, as many of its bytes as
// there are. Transport headers that are cut, or of other protocols, stay -1.
func (r *Row) Encode(b []byte) error {
	for i := range r {
		r[i] = -1
	}
	if len(b) < 20 {
		return ErrPacket
	}
	var rest []byte
	var proto byte
	switch b[0] >> 4 {
	case 4:
		n := int(b[0]&15) * 4
		if n < 20 || n > len(b) {
			return ErrPacket
		}
		r.put(ipv4, b[:n])
		rest, proto = b[n:], b[9]
		if b[6]&0x1f != 0 || b[7] != 0 {
			return nil // a later fragment has no transport header
		}
	case 6:
		if len(b) < 40 {
			return ErrPacket
		}
		r.put(ipv6, b[:40])
		rest, proto = b[40:], b[6]
	default:
		return ErrPacket
	}
	switch {
	case proto == 6 && len(rest) >= 20:
		if n := int(rest[12]>>4) * 4; n >= 20 && n <= len(rest) {
			r.put(tcp, rest[:n])
		}
	case proto == 17 && len(rest) >= 8:
		r.put(udp, rest[:8])
	case (proto == 1 || proto == 58) && len(rest) >= 8:
		r.put(icmp, rest[:8])
	}
	return nil
}

// Decode gives the headers of a row as bytes, an IP packet cut after them. What
// the row leaves out of a header that it has, an address say, is 0. An error
// wraps ErrRow.
func (r *Row) Decode() ([]byte, error) {
	for i, x := range r {
		if x < -1 || x > 1 {
			return nil, fmt.Errorf("%w: cell %d is %d", ErrRow, i, x)
		}
	}
	has := func(from, to int) bool { return slices.ContainsFunc(r[from:to], func(x int8) bool { return x >= 0 }) }
	var b []byte
	var proto byte
	switch v4, v6 := has(ipv4, ipv6), has(ipv6, tcp); {
	case v4 && v6:
		return nil, fmt.Errorf("%w: IPv4 and IPv6", ErrRow)
	case v4:
		n := int(r.take(ipv4, 1)[0]&15) * 4
		if n < 20 {
			return nil, fmt.Errorf("%w: an IPv4 header of %d bytes", ErrRow, n)
		}
		b = r.take(ipv4, n)
		proto = b[9]
	case v6:
		b = r.take(ipv6, 40)
		proto = b[6]
	default:
		return nil, fmt.Errorf("%w: no IP header", ErrRow)
	}
	t, u, i := has(tcp, udp), has(udp, icmp), has(icmp, Width)
	if t && u || t && i || u && i {
		return nil, fmt.Errorf("%w: two transport headers", ErrRow)
	}
	want := map[bool]bool{true: true}
	switch {
	case t:
		want[proto == 6] = true
		n := int(r.take(tcp+96, 1)[0]>>4) * 4
		if n < 20 {
			return nil, fmt.Errorf("%w: a TCP header of %d bytes", ErrRow, n)
		}
		b = append(b, r.take(tcp, n)...)
	case u:
		want[proto == 17] = true
		b = append(b, r.take(udp, 8)...)
	case i:
		want[proto == 1 || proto == 58] = true
		b = append(b, r.take(icmp, 8)...)
	}
	if want[false] {
		return nil, fmt.Errorf("%w: protocol %d with another's transport header", ErrRow, proto)
	}
	return b, nil
}

// Is reports whether a file begins like an nPrint table.
func Is(head []byte) bool {
	line, _, _ := strings.Cut(string(head), "\n")
	return strings.Contains(line, "ipv4_ver_0") || strings.Contains(line, "tcp_sprt_0")
}

// Read calls row for every packet of a table. Columns are found by name; those
// that are missing, NetDiffusion drops addresses, are -1, others (src_ip,
// payload, times) are passed over. Errors name line and column.
func Read(in io.Reader, name string, row func(*Row) error) error {
	c := csv.NewReader(bufio.NewReaderSize(in, 1<<16))
	c.ReuseRecord, c.FieldsPerRecord = true, 0
	head, err := c.Read()
	if err != nil {
		return fmt.Errorf("%s: no nPrint table: %w", name, err)
	}
	place := map[string]int{}
	for i, n := range Columns() {
		place[n] = i
	}
	to, known := make([]int, len(head)), 0
	for i, n := range head {
		k, ok := place[strings.TrimSpace(n)]
		if to[i] = -1; ok {
			to[i] = k
			known++
		}
	}
	if known == 0 {
		return fmt.Errorf("%s: no nPrint table: no column is ipv4_ver_0, …, icmp_roh_31", name)
	}
	names := slices.Clone(head)
	var r Row
	for n := 2; ; n++ {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		for i := range r {
			r[i] = -1
		}
		for i, text := range record {
			if to[i] < 0 {
				continue
			}
			switch text {
			case "0":
				r[to[i]] = 0
			case "1":
				r[to[i]] = 1
			case "-1":
			default:
				x, err := strconv.ParseFloat(text, 64)
				if err != nil || x != -1 && x != 0 && x != 1 {
					return fmt.Errorf("%s: line %d: column %s: %q is not one of -1, 0, 1", name, n, names[i], text)
				}
				r[to[i]] = int8(x)
			}
		}
		if err := row(&r); err != nil {
			return fmt.Errorf("%s: line %d: %w", name, n, err)
		}
	}
}

// Writer writes a table.
type Writer struct {
	out  *bufio.Writer
	line []byte
}

// NewWriter writes the head of a table. The caller calls Flush after the last.
func NewWriter(w io.Writer) (*Writer, error) {
	t := &Writer{out: bufio.NewWriterSize(w, 1<<16)}
	_, err := t.out.WriteString("src_ip," + strings.Join(Columns(), ",") + "\n")
	return t, err
}

// Write writes a packet's row.
func (t *Writer) Write(r *Row) error {
	t.line = t.line[:0]
	switch {
	case r[ipv4] >= 0:
		t.line = netip.AddrFrom4([4]byte(r.take(ipv4+96, 4))).AppendTo(t.line)
	case r[ipv6] >= 0:
		t.line = netip.AddrFrom16([16]byte(r.take(ipv6+64, 16))).AppendTo(t.line)
	}
	for _, x := range r {
		t.line = append(t.line, ',')
		t.line = strconv.AppendInt(t.line, int64(x), 10)
	}
	t.line = append(t.line, '\n')
	_, err := t.out.Write(t.line)
	return err
}

// Flush writes what is buffered.
func (t *Writer) Flush() error { return t.out.Flush() }
