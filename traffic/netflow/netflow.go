// Package netflow reads flow records as sessions, NetShare's CSV columns and
// NetFlow version 5, and writes the CSV.
//
// A session is a five-tuple, its steps are its records in the order of time.
package netflow

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/planegym/planegym/traffic"
)

// Record is one flow record.
type Record struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Proto            string  // upper case: TCP, UDP, ICMP; a number where it has no name
	Start            float64 // s
	Duration         float64 // s
	Packets, Bytes   int64
	Type             string // what the CSV's column type says; "" without
}

// Options of CSV. Zero values are the defaults in the comments.
type Options struct {
	Unit float64 // s per unit of the column ts; 1e-6
}

// Names of the columns; type is optional, others are passed over.
var columns = []string{"srcip", "dstip", "srcport", "dstport", "proto", "ts", "td", "pkt", "byt"}

// Is reports whether a file begins with a line of NetShare's columns.
func Is(head []byte) bool {
	line, _, _ := strings.Cut(string(head), "\n")
	names := strings.Split(strings.TrimSpace(line), ",")
	for _, c := range columns {
		if !slices.Contains(names, c) {
			return false
		}
	}
	return true
}

// ReadCSV reads records. Errors name line and column.
func ReadCSV(in io.Reader, name string, o Options) ([]Record, error) {
	if o.Unit == 0 {
		o.Unit = 1e-6
	}
	c := csv.NewReader(bufio.NewReader(in))
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: no flow records: %w", name, err)
	}
	at := map[string]int{}
	for i, n := range head {
		at[strings.TrimSpace(n)] = i
	}
	for _, n := range columns {
		if _, ok := at[n]; !ok {
			return nil, fmt.Errorf("%s: there is no column %q among %q", name, n, head)
		}
	}
	kind, hasKind := at["type"]
	var records []Record
	for n := 2; ; n++ {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		var r Record
		var fault error
		bad := func(column, want string) {
			if fault == nil {
				fault = fmt.Errorf("%s: line %d: %s: %q is not %s", name, n, column, row[at[column]], want)
			}
		}
		addr := func(column string) (a netip.Addr) {
			text := row[at[column]]
			if x, err := strconv.ParseUint(text, 10, 32); err == nil {
				return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
			}
			a, err := netip.ParseAddr(text)
			if err != nil {
				bad(column, "an address, dotted or as a number")
			}
			return a
		}
		number := func(column string, low, high float64) float64 {
			x, err := strconv.ParseFloat(row[at[column]], 64)
			if err != nil || !(x >= low && x <= high) {
				bad(column, fmt.Sprintf("a number from %v to %v", low, high))
				return low
			}
			return x
		}
		r.Src, r.Dst = addr("srcip"), addr("dstip")
		r.SrcPort, r.DstPort = uint16(number("srcport", 0, 65535)), uint16(number("dstport", 0, 65535))
		r.Proto = strings.ToUpper(strings.TrimSpace(row[at["proto"]]))
		r.Start, r.Duration = number("ts", 0, 1e18)*o.Unit, number("td", 0, 1e12)
		r.Packets, r.Bytes = int64(number("pkt", 0, 1<<53)), int64(number("byt", 0, 1<<53))
		if hasKind {
			r.Type = row[kind]
		}
		if fault != nil {
			return nil, fault
		}
		records = append(records, r)
	}
}

// The fields of sessions of flow records. "direction" and "flags" are missing:
// records are not packets.
var stepFields = []traffic.Field{
	{Name: "gap", Unit: "s", Kind: traffic.Gap},
	{Name: "duration", Unit: "s", Kind: traffic.Number},
	{Name: "packets", Kind: traffic.Size},
	{Name: "size", Unit: "B", Kind: traffic.Size},
}

// Group returns the sessions of records, in the order in which they begin: for each
// the indices of its records, in the order of time.
func Group(records []Record) [][]int {
	type five struct {
		src, dst netip.AddrPort
		proto    string
	}
	var groups [][]int
	where := map[five]int{}
	for _, i := range byStart(records) {
		r := &records[i]
		k := five{netip.AddrPortFrom(r.Src, r.SrcPort), netip.AddrPortFrom(r.Dst, r.DstPort), r.Proto}
		at, ok := where[k]
		if !ok {
			at = len(groups)
			where[k] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	return groups
}

func byStart(records []Record) []int {
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(records[a].Start, records[b].Start) })
	return order
}

// Popular returns the addresses of records, the one in most records first; of
// equally many, the one that is earlier in time.
func Popular(records []Record) []netip.Addr {
	count, seen := map[netip.Addr]int{}, []netip.Addr{}
	for _, i := range byStart(records) {
		for _, a := range []netip.Addr{records[i].Src, records[i].Dst} {
			if count[a] == 0 {
				seen = append(seen, a)
			}
			count[a]++
		}
	}
	slices.SortStableFunc(seen, func(a, b netip.Addr) int { return count[b] - count[a] })
	return seen
}

// Sessions makes sessions of records. Addresses become ranks, 0 for the one in
// most records.
func Sessions(records []Record) *traffic.Set {
	rank := map[netip.Addr]float64{}
	for i, a := range Popular(records) {
		rank[a] = float64(i)
	}
	protos, types := []string{}, []string{}
	for i := range records {
		protos, types = append(protos, records[i].Proto), append(types, records[i].Type)
	}
	slices.Sort(protos)
	slices.Sort(types)
	protos, types = slices.Compact(protos), slices.Compact(types)
	if len(protos) == 0 {
		protos = []string{"TCP"} // of no record: a symbol has levels
	}
	of := traffic.Schema{
		Meta: []traffic.Field{
			{Name: "protocol", Kind: traffic.Symbol, Levels: protos},
			{Name: "client", Kind: traffic.Address}, {Name: "server", Kind: traffic.Address},
			{Name: "client_port", Kind: traffic.Port}, {Name: "server_port", Kind: traffic.Port},
		},
		Steps: stepFields,
	}
	if len(types) > 1 || len(types) == 1 && types[0] != "" {
		of.Steps = append(slices.Clone(stepFields), traffic.Field{Name: "type", Kind: traffic.Symbol, Levels: types})
	}
	set, err := SessionsOf(records, of, rank)
	if err != nil {
		panic(err) // protocols, types and addresses are of these records
	}
	return set
}

// SessionsOf makes sessions of records by a schema that Sessions made of others, so
// that the two sets can be compared: rank says which address is which. An error
// names the first record with a protocol, type or address that they do not have.
func SessionsOf(records []Record, of traffic.Schema, rank map[netip.Addr]float64) (*traffic.Set, error) {
	l, err := layoutOf(&of)
	if err != nil {
		return nil, err
	}
	set := &traffic.Set{Of: of}
	groups := Group(records)
	for _, group := range groups {
		first, last := &records[group[0]], records[group[0]].Start
		x := traffic.Session{Label: -1, Start: first.Start - records[groups[0][0]].Start, Meta: make([]float64, len(of.Meta))}
		client, hasClient := rank[first.Src]
		server, hasServer := rank[first.Dst]
		proto := slices.Index(of.Meta[l.protocol].Levels, first.Proto)
		switch {
		case proto < 0:
			return nil, fmt.Errorf("netflow: record %d: protocol %q is not one of %q", group[0]+1, first.Proto, of.Meta[l.protocol].Levels)
		case !hasClient:
			return nil, fmt.Errorf("netflow: record %d: address %v has no rank", group[0]+1, first.Src)
		case !hasServer:
			return nil, fmt.Errorf("netflow: record %d: address %v has no rank", group[0]+1, first.Dst)
		}
		x.Meta[l.protocol], x.Meta[l.client], x.Meta[l.server] = float64(proto), client, server
		x.Meta[l.clientPort], x.Meta[l.serverPort] = float64(first.SrcPort), float64(first.DstPort)
		for _, i := range group {
			r, step := &records[i], make([]float64, len(of.Steps))
			step[l.gap], step[l.duration], step[l.packets], step[l.size] = r.Start-last, r.Duration, float64(r.Packets), float64(r.Bytes)
			if l.kind >= 0 {
				kind := slices.Index(of.Steps[l.kind].Levels, r.Type)
				if kind < 0 {
					return nil, fmt.Errorf("netflow: record %d: type %q is not one of %q", i+1, r.Type, of.Steps[l.kind].Levels)
				}
				step[l.kind] = float64(kind)
			}
			x.Steps = append(x.Steps, step...)
			last = r.Start
		}
		set.Sessions = append(set.Sessions, x)
	}
	return set, nil
}

// layout is where sessions of flow records have their fields.
type layout struct {
	protocol, client, server, clientPort, serverPort int // of a session
	gap, duration, packets, size, kind               int // of a step; kind -1: none
}

func layoutOf(c *traffic.Schema) (l layout, err error) {
	for _, f := range []struct {
		name string
		at   *int
		find func(string) int
	}{
		{"protocol", &l.protocol, c.MetaIndex}, {"client", &l.client, c.MetaIndex}, {"server", &l.server, c.MetaIndex},
		{"client_port", &l.clientPort, c.MetaIndex}, {"server_port", &l.serverPort, c.MetaIndex},
		{"gap", &l.gap, c.StepIndex}, {"duration", &l.duration, c.StepIndex}, {"packets", &l.packets, c.StepIndex}, {"size", &l.size, c.StepIndex},
	} {
		if *f.at = f.find(f.name); *f.at < 0 {
			return l, fmt.Errorf("netflow: sessions have no field %q: they are not flow records", f.name)
		}
	}
	l.kind = c.StepIndex("type")
	return l, nil
}

// each calls f for the records of a session.
func (l *layout) each(c *traffic.Schema, s *traffic.Session, f func(*Record) error) error {
	address := func(rank float64) netip.Addr {
		x := uint32(10<<24 + math.Mod(rank, 1<<24))
		return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
	}
	at := s.Start
	for t := range c.Len(s) {
		x := c.Step(s, t)
		at += x[l.gap]
		r := Record{
			Src: address(s.Meta[l.client]), Dst: address(s.Meta[l.server]), SrcPort: uint16(s.Meta[l.clientPort]), DstPort: uint16(s.Meta[l.serverPort]),
			Proto: c.Meta[l.protocol].Levels[int(s.Meta[l.protocol])], Start: at, Duration: max(x[l.duration], 0), Packets: int64(x[l.packets]), Bytes: int64(x[l.size]),
		}
		if l.kind >= 0 {
			r.Type = c.Steps[l.kind].Levels[int(x[l.kind])]
		}
		if err := f(&r); err != nil {
			return err
		}
	}
	return nil
}

// Records is the way back of Sessions, by session: ranks become addresses of 10/8.
func Records(s *traffic.Set) ([]Record, error) {
	l, err := layoutOf(&s.Of)
	if err != nil {
		return nil, err
	}
	var all []Record
	for i := range s.Sessions {
		if err := l.each(&s.Of, &s.Sessions[i], func(r *Record) error { all = append(all, *r); return nil }); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// WriteCSV writes sessions of flow records with NetShare's columns, by session:
// ranks become addresses of 10/8 and times µs. It counts records.
func WriteCSV(w io.Writer, c *traffic.Schema, sessions iter.Seq2[traffic.Session, error]) (n int, err error) {
	l, err := layoutOf(c)
	if err != nil {
		return 0, err
	}
	out := csv.NewWriter(w)
	head := slices.Clone(columns)
	if l.kind >= 0 {
		head = append(head, "type")
	}
	if err := out.Write(head); err != nil {
		return 0, err
	}
	for s, err := range sessions {
		if err == nil {
			err = c.Valid(&s)
		}
		if err != nil {
			return n, err
		}
		if err := l.each(c, &s, func(r *Record) error {
			n++
			return out.Write(r.row(l.kind >= 0))
		}); err != nil {
			return n, err
		}
	}
	out.Flush()
	return n, out.Error()
}

// row is a record as NetShare's CSV has it.
func (r *Record) row(kind bool) []string {
	number := func(a netip.Addr) string {
		b := a.As4()
		return strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[:])), 10)
	}
	row := []string{
		number(r.Src), number(r.Dst), strconv.Itoa(int(r.SrcPort)), strconv.Itoa(int(r.DstPort)), r.Proto,
		strconv.FormatFloat(math.Round(r.Start*1e6), 'f', 1, 64), strconv.FormatFloat(r.Duration, 'g', -1, 64),
		strconv.FormatInt(r.Packets, 10), strconv.FormatInt(r.Bytes, 10),
	}
	if kind {
		row = append(row, r.Type)
	}
	return row
}

// ErrV5 is wrapped by the error of bytes that are no NetFlow version 5.
var ErrV5 = errors.New("netflow: no NetFlow version 5")

// ReadV5 reads export packets of version 5, one after another: a header of 24
// bytes, and count records of 48 (Cisco, "NetFlow Export Datagram Format").
func ReadV5(in io.Reader) ([]Record, error) {
	var records []Record
	b := bufio.NewReader(in)
	for k := 0; ; k++ {
		var head [24]byte
		if _, err := io.ReadFull(b, head[:]); errors.Is(err, io.EOF) {
			return records, nil
		} else if err != nil {
			return nil, fmt.Errorf("%w: packet %d: a header of less than 24 bytes", ErrV5, k)
		}
		version, n := binary.BigEndian.Uint16(head[:]), int(binary.BigEndian.Uint16(head[2:]))
		if version != 5 || n < 1 || n > 30 {
			return nil, fmt.Errorf("%w: packet %d: version %d, %d records", ErrV5, k, version, n)
		}
		// Times of records are ms since the exporter started.
		boot := float64(binary.BigEndian.Uint32(head[8:])) + float64(binary.BigEndian.Uint32(head[12:]))/1e9 - float64(binary.BigEndian.Uint32(head[4:]))/1e3
		for i := range n {
			var r [48]byte
			if _, err := io.ReadFull(b, r[:]); err != nil {
				return nil, fmt.Errorf("%w: packet %d: record %d of %d is cut", ErrV5, k, i+1, n)
			}
			begin, end := binary.BigEndian.Uint32(r[24:]), binary.BigEndian.Uint32(r[28:])
			records = append(records, Record{
				Src: netip.AddrFrom4([4]byte(r[0:])), Dst: netip.AddrFrom4([4]byte(r[4:])),
				Packets: int64(binary.BigEndian.Uint32(r[16:])), Bytes: int64(binary.BigEndian.Uint32(r[20:])),
				Start: max(boot+float64(begin)/1e3, 0), Duration: float64(end-begin) / 1e3, // the clock may wrap between
				SrcPort: binary.BigEndian.Uint16(r[32:]), DstPort: binary.BigEndian.Uint16(r[34:]), Proto: protocolName(r[38]),
			})
		}
	}
}

func protocolName(n uint8) string {
	switch n {
	case 1:
		return "ICMP"
	case 6:
		return "TCP"
	case 17:
		return "UDP"
	}
	return strconv.Itoa(int(n))
}
