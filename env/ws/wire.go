package ws

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/telemetry"
)

// The binary messages; PROTOCOL.md has their layout.
const (
	typeStep = 1 + iota
	typeStepResult
	typeReset
	typeResetResult
	typeStepMany
	typeStepManyResult
)

const (
	flagSubset = 1 << iota
	flagInfo
	flagResync
	flagFinalObs
	flagSeeds
	flagFinalInfo
	allFlags = 1<<iota - 1
)

const (
	wireVersion = 1
	headerBytes = 24
	maxHello    = 16 << 10 // bytes
	maxRequest  = 1 << 20
	maxReply    = 16 << 20
	inFlight    = 64      // requests of a session
	defaultRate = 200_000 // messages a second from another machine
)

type header struct {
	Type  uint8
	Flags uint16
	Env   uint32
	N     uint32 // rows
	Aux   uint32 // bytes
	Seq   uint64
}

var le = binary.LittleEndian

func (h header) append(dst []byte) []byte {
	dst = append(dst, wireVersion, h.Type)
	dst = le.AppendUint16(dst, h.Flags)
	dst = le.AppendUint32(dst, h.Env)
	dst = le.AppendUint32(dst, h.N)
	dst = le.AppendUint32(dst, h.Aux)
	return le.AppendUint64(dst, h.Seq)
}

// parseHeader reads the header off b, whose number can be trusted if it
// gives no error.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerBytes {
		return header{}, fmt.Errorf("%w: %d bytes, the header alone has %d", ErrBadFrame, len(b), headerBytes)
	}
	if b[0] != wireVersion {
		return header{}, fmt.Errorf("%w: binary message of version %d, want %d", ErrBadVersion, b[0], wireVersion)
	}
	h := header{b[1], le.Uint16(b[2:]), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint64(b[16:])}
	if h.Type < typeStep || h.Type > typeStepManyResult {
		return header{}, fmt.Errorf("%w: message type %d", ErrBadFrame, h.Type)
	}
	if h.Flags&^allFlags != 0 {
		return header{}, fmt.Errorf("%w: flags %#x", ErrBadFrame, h.Flags)
	}
	return h, nil
}

// request is a decoded binary request; its slices are reused by the next.
type request struct {
	header
	Ack     uint64
	Steps   int      // T of STEP_MANY, else 1
	Seeds   []uint64 // [n] or nil
	Rows    []int    // [n] or nil: all
	Actions []int32  // [T,n,S]

	Options *env.Options // of a reset in text form; nil: none

	seeds []uint64 // memory of the above
	rows  []int
}

func (r *request) append(dst []byte) []byte {
	dst = r.header.append(dst)
	dst = le.AppendUint64(dst, r.Ack)
	if r.Type == typeStepMany {
		dst = le.AppendUint32(dst, uint32(r.Steps))
		dst = le.AppendUint32(dst, 0)
	}
	for _, s := range r.Seeds {
		dst = le.AppendUint64(dst, s)
	}
	for _, row := range r.Rows {
		dst = le.AppendUint32(dst, uint32(row))
	}
	return appendWords(dst, r.Actions)
}

// decode reads the body of b, a request whose header is r.header, to an
// environment of num rows and s actions each.
func (r *request) decode(b []byte, num, s int) error {
	b = b[headerBytes:]
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrBadFrame}, args...)...)
	}
	var may uint16 = flagSubset | flagInfo | flagResync
	fixed := 8
	switch r.Type {
	case typeStep:
	case typeReset:
		may |= flagSeeds
	case typeStepMany:
		fixed = 16
	default:
		return bad("type %d is not a request", r.Type)
	}
	n := uint64(r.N)
	switch {
	case r.Flags&^may != 0:
		return bad("flags %#x in a request of type %d", r.Flags, r.Type)
	case r.Aux != 0:
		return bad("aux_len is %d in a request", r.Aux)
	case len(b) < fixed:
		return bad("body of %d bytes, want at least %d", len(b), fixed)
	case n == 0 || n > uint64(num) || r.Flags&flagSubset == 0 && n != uint64(num):
		return fmt.Errorf("%w: n is %d, there are %d", env.ErrInvalidRows, n, num)
	}
	r.Ack, r.Steps = le.Uint64(b), 1
	if r.Type == typeStepMany {
		if r.Steps = int(le.Uint32(b[8:])); r.Steps < 1 || le.Uint32(b[12:]) != 0 {
			return bad("T is %d, then %d; want at least 1, then 0", r.Steps, le.Uint32(b[12:]))
		}
	}
	b = b[fixed:]
	want := uint64(0)
	if r.Flags&flagSeeds != 0 {
		want += 8 * n
	}
	if r.Flags&flagSubset != 0 {
		want += 4 * n
	}
	if r.Type != typeReset {
		want += 4 * n * uint64(s) * uint64(r.Steps) // n and s are an environment's: no overflow
	}
	if uint64(len(b)) != want {
		return bad("body of %d bytes, want %d for %d rows", fixed+len(b), uint64(fixed)+want, n)
	}
	r.Seeds, r.Rows = nil, nil
	if r.Flags&flagSeeds != 0 {
		r.seeds = telemetry.Grow(r.seeds, int(n))
		for i := range r.seeds {
			r.seeds[i] = le.Uint64(b[8*i:])
		}
		r.Seeds, b = r.seeds, b[8*n:]
	}
	if r.Flags&flagSubset != 0 {
		r.rows = telemetry.Grow(r.rows, int(n))
		for i := range r.rows {
			r.rows[i] = int(le.Uint32(b[4*i:]))
		}
		r.Rows, b = r.rows, b[4*n:]
	}
	r.Actions = telemetry.Grow(r.Actions, len(b)/4)
	takeWords(r.Actions, b)
	return nil
}

func pad(n int) int { return (n + 3) &^ 3 }

// resultBytes is the length of a result of rows rows, info and final
// observations included where asked, final infos where the client knows them.
func resultBytes(many bool, rows, d, f int, final, finalInfo bool) uint64 {
	n := uint64(headerBytes) + uint64(rows)*4*uint64(d+1+f) + 2*uint64(pad(rows))
	if final {
		n += 4 * uint64(rows) * uint64(d)
	}
	if final && finalInfo {
		n += 4 * uint64(rows) * uint64(f)
	}
	if many {
		n += 8
	}
	return n
}

// appendResult encodes b as a reply. h's Aux and its FINAL_OBS, INFO and
// FINAL_INFO are set here; steps is T of STEP_MANY_RESULT, whose b has T·n rows.
// finalInfo is empty where the client does not know it.
func appendResult(dst []byte, h header, steps int, b *env.Batch, info, finalInfo []float32) []byte {
	final := b.FinalObs
	h.Flags &= flagSubset
	if h.Type == typeResetResult || !anySet(b.Terminated) && !anySet(b.Truncated) {
		final = nil
	}
	if len(final) > 0 {
		h.Flags |= flagFinalObs
	}
	if len(info) > 0 {
		h.Flags |= flagInfo
	}
	if len(final) == 0 || len(info) == 0 {
		finalInfo = nil
	}
	if len(finalInfo) > 0 {
		h.Flags |= flagFinalInfo
	}
	h.Aux = uint32(4 * (len(final) + len(info) + len(finalInfo)))
	dst = h.append(dst)
	if h.Type == typeStepManyResult {
		dst = le.AppendUint32(dst, uint32(steps))
		dst = le.AppendUint32(dst, 0)
	}
	dst = appendWords(dst, b.Obs)
	dst = appendWords(dst, b.Reward)
	dst = appendBools(dst, b.Terminated)
	dst = appendBools(dst, b.Truncated)
	dst = appendWords(dst, final)
	dst = appendWords(dst, info)
	return appendWords(dst, finalInfo)
}

func anySet(flags []bool) bool { return bytes.IndexByte(flagBytes(flags), 1) >= 0 }

// flagBytes is the memory of x, which Go keeps as the wire does: 0 or 1.
func flagBytes(x []bool) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// extend is dst with n more bytes, whose content is undefined, and those.
func extend(dst []byte, n int) (all, tail []byte) {
	at := len(dst)
	if cap(dst)-at < n {
		grown := make([]byte, at, 2*cap(dst)+n)
		copy(grown, dst)
		dst = grown
	}
	dst = dst[:at+n]
	return dst, dst[at:]
}

// bytesOf is the memory of x, which is what the wire has on machines that
// store numbers as it does. All that Go builds for and we test are such; on
// another, swap32 puts the bytes in order after a copy.
func bytesOf[T int32 | float32](x []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

func swap32(b []byte) {
	for ; len(b) >= 4; b = b[4:] {
		le.PutUint32(b, binary.BigEndian.Uint32(b))
	}
}

func appendWords[T int32 | float32](dst []byte, x []T) []byte {
	dst, tail := extend(dst, 4*len(x))
	copy(tail, bytesOf(x))
	if bigEndian {
		swap32(tail)
	}
	return dst
}

// takeWords fills dst from b and gives the rest.
func takeWords[T int32 | float32](dst []T, b []byte) []byte {
	copy(bytesOf(dst), b[:4*len(dst)])
	if bigEndian {
		swap32(bytesOf(dst))
	}
	return b[4*len(dst):]
}

func appendBools(dst []byte, x []bool) []byte {
	dst, tail := extend(dst, pad(len(x)))
	clear(tail[copy(tail, flagBytes(x)):])
	return dst
}

// shape is what a client knows of its environment.
type shape struct {
	num, d, f int
	final     bool // same_step
}

// result is a decoded reply: out is filled, info is [rows,F] or empty.
type result struct {
	header
	Steps int // T of STEP_MANY_RESULT, else 1
	Info  []float32
	Final []float32 // infos before the reset, where FINAL_INFO is set
}

// decode reads b, a result for an environment of shape s, into out.
func (r *result) decode(b []byte, s shape, out *env.Batch) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrBadFrame}, args...)...)
	}
	h, err := parseHeader(b)
	if err != nil {
		return err
	}
	whole := len(b)
	b = b[headerBytes:]
	r.header, r.Steps = h, 1
	switch {
	case h.Type != typeStepResult && h.Type != typeResetResult && h.Type != typeStepManyResult:
		return bad("type %d is not a result", h.Type)
	case h.N == 0 || uint64(h.N) > uint64(s.num):
		return bad("n is %d, there are %d", h.N, s.num)
	case h.Flags&flagFinalObs != 0 && !s.final, h.Flags&(flagResync|flagSeeds) != 0, h.Flags&flagFinalInfo != 0 && h.Flags&(flagFinalObs|flagInfo) != flagFinalObs|flagInfo:
		return bad("flags %#x in a result", h.Flags)
	}
	if h.Type == typeStepManyResult {
		if len(b) < 8 {
			return bad("%d bytes after the header", len(b))
		}
		if r.Steps = int(le.Uint32(b)); r.Steps < 1 || le.Uint32(b[4:]) != 0 {
			return bad("T is %d, then %d", r.Steps, le.Uint32(b[4:]))
		}
		b = b[8:]
	}
	if uint64(h.N)*uint64(r.Steps) > uint64(len(b)) {
		return bad("%d rows in %d bytes", uint64(h.N)*uint64(r.Steps), whole)
	}
	n, f := int(h.N)*r.Steps, 0
	if h.Flags&flagInfo != 0 {
		f = s.f
	}
	final, finalInfo := h.Flags&flagFinalObs != 0, h.Flags&flagFinalInfo != 0
	if want := resultBytes(h.Type == typeStepManyResult, n, s.d, f, final, finalInfo); uint64(whole) != want {
		return bad("result of %d bytes, want %d for %d rows", whole, want, n)
	}
	aux := 4 * n * f
	if final {
		aux += 4 * n * s.d
	}
	if finalInfo {
		aux += 4 * n * f
	}
	if uint64(h.Aux) != uint64(aux) {
		return bad("aux_len is %d, want %d", h.Aux, aux)
	}
	out.Size(n, s.d, s.final)
	b = takeWords(out.Obs, b)
	b = takeWords(out.Reward, b)
	if b, err = takeBools(out.Terminated, b); err != nil {
		return err
	}
	if b, err = takeBools(out.Truncated, b); err != nil {
		return err
	}
	if final {
		b = takeWords(out.FinalObs, b)
	} else {
		clear(out.FinalObs)
	}
	r.Info = telemetry.Grow(r.Info, n*f)
	b = takeWords(r.Info, b)
	r.Final = r.Final[:0]
	if finalInfo {
		r.Final = telemetry.Grow(r.Final, n*f)
		takeWords(r.Final, b)
	}
	return nil
}

func takeBools(dst []bool, b []byte) ([]byte, error) {
	for i := range dst {
		if b[i] > 1 {
			return nil, fmt.Errorf("%w: flag of row %d is %d", ErrBadFrame, i, b[i])
		}
		dst[i] = b[i] == 1
	}
	return b[pad(len(dst)):], nil
}
