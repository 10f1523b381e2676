package sim

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/planegym/planegym/p4"
)

// ServeThrift serves the queues' part of BMv2's Thrift interface (service
// simple_switch, strict binary protocol without framing) on a listener, which
// it owns, until Close. Cut and Restart break its connections, too.
func (s *Server) ServeThrift(l net.Listener) {
	g := &gate{Listener: l, conns: map[net.Conn]bool{}}
	s.mu.Lock()
	s.thrift = g
	s.mu.Unlock()
	s.serving.Go(func() {
		for {
			c, err := g.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					out, err := s.answer(in)
					if err != nil {
						return
					}
					if _, err := c.Write(out); err != nil {
						return
					}
				}
			})
		}
	})
}

// Kinds of messages and types of values of the binary protocol.
const (
	thriftVersion   = 0x80010000
	thriftReply     = 2
	thriftException = 3
	thriftI32       = 8
	thriftI64       = 10
	thriftString    = 11
)

// answer reads a call and gives its reply.
func (s *Server) answer(in *bufio.Reader) ([]byte, error) {
	var head, n, seq uint32
	if err := binary.Read(in, binary.BigEndian, &head); err != nil {
		return nil, err
	}
	if err := binary.Read(in, binary.BigEndian, &n); err != nil || head != thriftVersion|1 || n > 256 {
		return nil, errors.Join(err, errors.New("sim: thrift: no call"))
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(in, name); err != nil {
		return nil, err
	}
	if err := binary.Read(in, binary.BigEndian, &seq); err != nil {
		return nil, err
	}
	args, err := integers(in)
	if err != nil {
		return nil, err
	}
	service, method, _ := strings.Cut(string(name), ":")
	value, wide, err := s.serve(service, method, args)
	kind := uint32(thriftReply)
	if err != nil {
		kind = thriftException
	}
	out := binary.BigEndian.AppendUint32(nil, thriftVersion|kind)
	out = binary.BigEndian.AppendUint32(out, uint32(len(method)))
	out = append(out, method...)
	out = binary.BigEndian.AppendUint32(out, seq)
	switch {
	case err != nil: // TApplicationException: message, type 6, internal error
		text := err.Error()
		out = append(out, thriftString, 0, 1)
		out = binary.BigEndian.AppendUint32(out, uint32(len(text)))
		out = append(out, text...)
		out = append(out, thriftI32, 0, 2, 0, 0, 0, 6)
	case wide:
		out = append(out, thriftI64, 0, 0)
		out = binary.BigEndian.AppendUint64(out, uint64(value))
	default:
		out = append(out, thriftI32, 0, 0)
		out = binary.BigEndian.AppendUint32(out, uint32(value))
	}
	return append(out, 0), nil
}

// integers reads a struct of i32 and i64 fields in order of their ids.
func integers(in *bufio.Reader) ([]int64, error) {
	var args []int64
	for {
		t, err := in.ReadByte()
		if err != nil || t == 0 {
			return args, err
		}
		var id uint16
		var narrow int32
		var wide int64
		if err := binary.Read(in, binary.BigEndian, &id); err != nil {
			return nil, err
		}
		switch t {
		case thriftI32:
			err = binary.Read(in, binary.BigEndian, &narrow)
			wide = int64(narrow)
		case thriftI64:
			err = binary.Read(in, binary.BigEndian, &wide)
		default:
			err = fmt.Errorf("sim: thrift: argument of type %d", t)
		}
		if err != nil || len(args) == 8 {
			return nil, errors.Join(err, errors.New("sim: thrift: arguments"))
		}
		args = append(args, wide)
	}
}

// serve does one call.
func (s *Server) serve(service, method string, args []int64) (value int64, wide bool, err error) {
	want := map[string]int{
		"set_egress_queue_depth": 2, "set_egress_priority_queue_depth": 3, "set_egress_queue_rate": 2, "get_time_elapsed_us": 0,
	}
	if n, known := want[method]; service != "simple_switch" || !known || len(args) != n {
		//lint:ignore ST1005 the words are Thrift's
		return 0, false, fmt.Errorf("Invalid method name: '%s'", method)
	}
	switch method {
	case "set_egress_queue_depth":
		s.SetDepths(p4.Port(args[0]), p4.Limit(args[1]))
	case "set_egress_priority_queue_depth":
		err = s.SetDepth(p4.Port(args[0]), int(args[1]), p4.Limit(args[2]))
	case "set_egress_queue_rate":
		s.SetRate(p4.Port(args[0]), args[1])
	case "get_time_elapsed_us":
		return s.Uptime().Microseconds(), true, nil
	}
	return 0, false, err
}
