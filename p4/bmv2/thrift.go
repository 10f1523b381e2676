package bmv2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The strict binary protocol of Apache Thrift (thrift-binary-protocol.md),
// big-endian, without framing:
//
//	message   i32 0x80010000|type, string name, i32 seqid, struct
//	struct    fields, then a 0 byte
//	field     i8 type, i16 id, value
//	string    i32 length, bytes
//
// A multiplexed call's name is "service:method". A call's struct holds the
// arguments; a reply's holds the result in field 0, where there is one.
const (
	version = 0x80010000

	call      = 1
	reply     = 2
	exception = 3

	typeStop   = 0
	typeBool   = 2
	typeByte   = 3
	typeDouble = 4
	typeI16    = 6
	typeI32    = 8
	typeI64    = 10
	typeString = 11
	typeStruct = 12
	typeMap    = 13
	typeSet    = 14
	typeList   = 15

	maxBytes = 1 << 16 // of a string, or elements of a container: replies are small
	maxDepth = 16
)

// arg is one argument of a call, in order of its field id, from 1.
type arg struct {
	wide  bool // i64, else i32
	value int64
}

func i32(v int64) arg { return arg{value: v} }
func i64(v int64) arg { return arg{wide: true, value: v} }

// appendCall appends a call of a multiplexed service to dst.
func appendCall(dst []byte, service, method string, seq int32, args ...arg) []byte {
	name := service + ":" + method
	dst = binary.BigEndian.AppendUint32(dst, version|call)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(name)))
	dst = append(dst, name...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(seq))
	for i, a := range args {
		if a.wide {
			dst = append(dst, typeI64)
			dst = binary.BigEndian.AppendUint16(dst, uint16(i+1))
			dst = binary.BigEndian.AppendUint64(dst, uint64(a.value))
		} else {
			dst = append(dst, typeI32)
			dst = binary.BigEndian.AppendUint16(dst, uint16(i+1))
			dst = binary.BigEndian.AppendUint32(dst, uint32(a.value))
		}
	}
	return append(dst, typeStop)
}

// SwitchError is what the switch says where it cannot do a call: Thrift's
// TApplicationException, e.g. 1, an unknown method.
type SwitchError struct {
	Method  string
	Kind    int32
	Message string
}

func (e *SwitchError) Error() string {
	return fmt.Sprintf("bmv2: %s: the switch answers %q (kind %d)", e.Method, e.Message, e.Kind)
}

// reader reads Thrift values; the first error sticks.
type reader struct {
	r   io.Reader
	buf [8]byte
	err error
}

func (r *reader) bytes(n int) []byte {
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, r.buf[:n])
	}
	if r.err != nil {
		clear(r.buf[:])
	}
	return r.buf[:n]
}

func (r *reader) i8() byte   { return r.bytes(1)[0] }
func (r *reader) i16() int16 { return int16(binary.BigEndian.Uint16(r.bytes(2))) }
func (r *reader) i32() int32 { return int32(binary.BigEndian.Uint32(r.bytes(4))) }
func (r *reader) i64() int64 { return int64(binary.BigEndian.Uint64(r.bytes(8))) }

// size reads a length and refuses one that no reply has.
func (r *reader) size() int {
	n := r.i32()
	if r.err == nil && (n < 0 || n > maxBytes) {
		r.err = fmt.Errorf("a length of %d", n)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	b := make([]byte, r.size())
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, b)
	}
	return string(b)
}

// skip reads over a value.
func (r *reader) skip(t byte, depth int) {
	if depth > maxDepth && r.err == nil {
		r.err = errors.New("values nested too deep")
	}
	if r.err != nil {
		return
	}
	switch t {
	case typeBool, typeByte:
		r.i8()
	case typeI16:
		r.i16()
	case typeI32:
		r.i32()
	case typeI64, typeDouble:
		r.i64()
	case typeString:
		_ = r.string()
	case typeStruct:
		for {
			f := r.i8()
			if f == typeStop || r.err != nil {
				return
			}
			r.i16()
			r.skip(f, depth+1)
		}
	case typeMap:
		k, v := r.i8(), r.i8()
		for range r.size() {
			r.skip(k, depth+1)
			r.skip(v, depth+1)
		}
	case typeSet, typeList:
		e := r.i8()
		for range r.size() {
			r.skip(e, depth+1)
		}
	default:
		r.err = fmt.Errorf("unknown type %d", t)
	}
}

// readReply reads the answer to a call: its i32 or i64 result, 0 of a void one.
func readReply(in io.Reader, service, method string, seq int32) (int64, error) {
	r := &reader{r: in}
	fail := func(format string, args ...any) (int64, error) {
		return 0, fmt.Errorf("bmv2: reply to %s: "+format, append([]any{method}, args...)...)
	}
	head := uint32(r.i32())
	if r.err == nil && head&0xffff0000 != version {
		return fail("%#08x is not a strict binary protocol", head)
	}
	name := r.string()
	got := r.i32()
	switch {
	case r.err != nil:
		return fail("%w", r.err)
	// The multiplexed processor strips the service off; others keep it.
	case name != method && name != service+":"+method:
		return fail("it answers %q", name)
	case got != seq:
		return fail("it answers call %d, not %d", got, seq)
	}
	kind := head & 0xff
	if kind != reply && kind != exception {
		return fail("message type %d", kind)
	}
	var value int64
	e := &SwitchError{Method: method}
	for {
		t := r.i8()
		if r.err != nil {
			return fail("%w", r.err)
		}
		if t == typeStop {
			break
		}
		id := r.i16()
		switch {
		case kind == exception && id == 1 && t == typeString:
			e.Message = r.string()
		case kind == exception && id == 2 && t == typeI32:
			e.Kind = r.i32()
		case kind == reply && id == 0 && t == typeI32:
			value = int64(r.i32())
		case kind == reply && id == 0 && t == typeI64:
			value = r.i64()
		case kind == reply && id != 0: // a declared exception
			e.Message = fmt.Sprintf("exception %d of the method", id)
			r.skip(t, 0)
		default:
			r.skip(t, 0)
		}
	}
	if kind == exception || e.Message != "" {
		return 0, e
	}
	return value, nil
}
