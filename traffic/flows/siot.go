package flows

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/packet"
)

// siotFlow is a line of NEMEA-SIoT's annotated data sets, which are Cisco
// joy's JSON: ppi has every TCP segment, packets the first packets with
// payload of other flows.
type siotFlow struct {
	SA       string   `json:"sa"`
	DA       string   `json:"da"`
	Protocol uint8    `json:"pr"`
	SP       *uint16  `json:"sp"`
	DP       *uint16  `json:"dp"`
	Start    *float64 `json:"time_start"`
	Type     string   `json:"flow_type"`
	PPI      []struct {
		Bytes   int                          `json:"b"`
		Seq     uint32                       `json:"seq"`
		Ack     uint32                       `json:"ack"`
		Flags   string                       `json:"flags"`
		T       float64                      `json:"t"` // ms since the flow began
		Dir     string                       `json:"dir"`
		Options []map[string]json.RawMessage `json:"opts"`
	} `json:"ppi"`
	Packets []struct {
		Bytes int     `json:"b"`
		IPT   float64 `json:"ipt"` // ms since the packet before
		Dir   string  `json:"dir"`
	} `json:"packets"`
	IP struct {
		In  struct{ TTL uint8 } `json:"in"`
		Out struct{ TTL uint8 } `json:"out"`
	} `json:"ip"`
}

// IsSIoT reports whether a file begins like one of NEMEA-SIoT's.
func IsSIoT(head []byte) bool {
	h := string(head)
	return strings.HasPrefix(h, "{") && (strings.Contains(h, `"flow_type"`) || strings.Contains(h, `"ppi"`) || strings.Contains(h, `"packets"`))
}

// ReadSIoT reads one of NEMEA-SIoT's files: a flow per line, its label the
// flow's type. Errors name line and field.
func ReadSIoT(in io.Reader, name string) (*traffic.Set, Counts, error) {
	var rows []siotFlow
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), 1<<26)
	n := 0
	for lines.Scan() {
		n++
		if len(strings.TrimSpace(lines.Text())) == 0 {
			continue
		}
		var f siotFlow
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return nil, Counts{}, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		if f.Start == nil || !(*f.Start >= 0 && *f.Start < 1e11) {
			return nil, Counts{}, fmt.Errorf("%s: line %d: time_start is missing or impossible", name, n)
		}
		rows = append(rows, f)
	}
	if err := lines.Err(); err != nil {
		return nil, Counts{}, fmt.Errorf("%s: line %d: %w", name, n+1, err)
	}
	slices.SortStableFunc(rows, func(a, b siotFlow) int { return cmp.Compare(*a.Start, *b.Start) })
	b := NewBuilder(Options{Span: math.MaxInt64, Idle: math.MaxInt64, Whole: true}) // records of a probe, not frames of a host
	var labels []string
	of := []int{}
	for i := range rows {
		before := len(b.sessions)
		clear(b.flows)
		if err := b.addSIoT(&rows[i]); err != nil {
			return nil, Counts{}, fmt.Errorf("%s: the flow that starts at %v: %w", name, *rows[i].Start, err)
		}
		label := -1
		if t := rows[i].Type; t != "" && len(b.sessions) > before {
			if label = slices.Index(labels, t); label < 0 {
				label = len(labels)
				labels = append(labels, t)
			}
		}
		for range len(b.sessions) - before {
			of = append(of, label)
		}
	}
	for i, l := range of {
		b.sessions[i].Label = l
	}
	set := b.Set()
	set.Of.Labels = labels
	return set, b.counts, set.Valid()
}

// addSIoT takes a flow in, packet by packet.
func (b *Builder) addSIoT(f *siotFlow) error {
	src, err := netip.ParseAddr(f.SA)
	if err != nil {
		return fmt.Errorf("sa: %w", err)
	}
	dst, err := netip.ParseAddr(f.DA)
	if err != nil {
		return fmt.Errorf("da: %w", err)
	}
	src, dst = src.Unmap().WithZone(""), dst.Unmap().WithZone("")
	if src.Is4() != dst.Is4() {
		return errors.New("sa and da are of two IP versions")
	}
	start := time.Unix(0, int64(*f.Start*1e9))
	if b.first.IsZero() {
		b.first = start
	}
	if f.Protocol != packet.TCP && f.Protocol != packet.UDP && f.Protocol != packet.ICMPv4 && f.Protocol != packet.ICMPv6 {
		b.counts.Packets += len(f.Packets)
		b.counts.Left[fmt.Sprintf("IP protocol %d", f.Protocol)] += len(f.Packets)
		return nil
	}
	draft := func(dir string) (*packet.Packet, error) {
		q := &packet.Packet{Src: src, Dst: dst, Proto: f.Protocol, TTL: cmp.Or(f.IP.Out.TTL, 64)}
		if f.SP != nil && f.DP != nil {
			q.SrcPort, q.DstPort = *f.SP, *f.DP
		}
		switch dir {
		case ">":
		case "<":
			q.Src, q.Dst, q.SrcPort, q.DstPort = q.Dst, q.Src, q.DstPort, q.SrcPort
			q.TTL = cmp.Or(f.IP.In.TTL, 64)
		default:
			return nil, fmt.Errorf("dir %q is neither > nor <", dir)
		}
		b.counts.Packets++
		return q, nil
	}
	if f.Protocol == packet.TCP {
		for i, p := range f.PPI {
			q, err := draft(p.Dir)
			if err != nil {
				return fmt.Errorf("ppi[%d]: %w", i, err)
			}
			if p.Bytes < 0 || p.Bytes > 65535 || !(p.T >= 0 && p.T < 1e12) {
				return fmt.Errorf("ppi[%d]: %d bytes at %v ms", i, p.Bytes, p.T)
			}
			q.Length, q.Seq, q.Ack, q.Window = p.Bytes, p.Seq, p.Ack, 1
			for _, c := range p.Flags {
				k := strings.IndexRune("FSRPAUEC", c)
				if k < 0 {
					return fmt.Errorf("ppi[%d]: flag %q", i, c)
				}
				q.Flags |= 1 << k
			}
			for _, o := range p.Options {
				for name := range o {
					switch name {
					case "mss":
						q.TCPOptions = append(q.TCPOptions, 2, 4, 5, 180)
					case "sackp":
						q.TCPOptions = append(q.TCPOptions, 4, 2)
					case "ws":
						q.TCPOptions = append(q.TCPOptions, 3, 3, 0)
					case "ts":
						q.TCPOptions = append(q.TCPOptions, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0)
					}
				}
			}
			b.take(start.Add(time.Duration(p.T*1e6)), q)
		}
		return nil
	}
	at := start
	for i, p := range f.Packets {
		q, err := draft(p.Dir)
		if err != nil {
			return fmt.Errorf("packets[%d]: %w", i, err)
		}
		if p.Bytes < 0 || p.Bytes > 65535 || !(p.IPT >= 0 && p.IPT < 1e12) {
			return fmt.Errorf("packets[%d]: %d bytes after %v ms", i, p.Bytes, p.IPT)
		}
		q.Length = p.Bytes
		if q.Proto == packet.ICMPv4 || q.Proto == packet.ICMPv6 {
			typeOfSIoT(q, f, p.Dir)
		}
		at = at.Add(time.Duration(p.IPT * 1e6))
		b.take(at, q)
	}
	return nil
}

// typeOfSIoT gives an ICMP packet the type that the data set leaves out: an
// error where the flow is called so, else an echo and its reply.
func typeOfSIoT(q *packet.Packet, f *siotFlow, dir string) {
	v6 := q.Proto == packet.ICMPv6
	q.SrcPort, q.DstPort = 0, 0
	switch {
	case strings.Contains(f.Type, "Unreachable") && v6:
		q.Type, q.Code = 1, 4
	case strings.Contains(f.Type, "Unreachable"):
		q.Type, q.Code = 3, 3
	case v6 && dir == ">":
		q.Type = 128
	case v6:
		q.Type = 129
	case dir == ">":
		q.Type = 8
	}
}
