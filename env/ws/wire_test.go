package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/planegym/planegym/env"
)

// layout writes a message column by column, as the tables of PROTOCOL.md say,
// each value by package binary.
func layout(kind uint8, flags uint16, id, n, aux uint32, seq uint64, columns ...any) []byte {
	var b bytes.Buffer
	for _, v := range append([]any{uint8(1), kind, flags, id, n, aux, seq}, columns...) {
		if flags, ok := v.([]bool); ok { // u8, padded
			for len(flags)%4 != 0 {
				flags = append(flags, false)
			}
			v = flags
		}
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// The sizes that clients in other languages are written to are PROTOCOL.md's.
func TestLimitsAreTheProtocols(t *testing.T) {
	b, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(b)), " ")
	number := func(pattern string) int {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("PROTOCOL.md does not say %q", pattern)
		}
		n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct {
		pattern    string
		unit, have int
	}{
		{`in at most (\d+) KiB`, 1 << 10, maxHello},
		{`at most (\d+) MiB towards the server`, 1 << 20, maxRequest},
		{`and (\d+) MiB towards the client`, 1 << 20, maxReply},
		{`"request_bytes":(\d+)`, 1, maxRequest},
		{`"reply_bytes":(\d+)`, 1, maxReply},
		{`"in_flight":(\d+),"envs"`, 1, inFlight},
		{`At most (\d+) numbered requests`, 1, inFlight},
		{`the server allows \(([\d,]+) from another machine\)`, 1, defaultRate},
		{`"pending_bytes":(\d+)`, 1, leastPending},
		{`The header, (\d+) bytes`, 1, headerBytes},
		{`"ticket":"…","seconds":(\d+)`, 1, int(ticketFor.Seconds())},
		{`"version":(\d)`, 1, wireVersion},
	} {
		if n := number(c.pattern) * c.unit; n != c.have {
			t.Errorf("%s is %d, the code has %d", c.pattern, n, c.have)
		}
	}
	for name, have := range map[string]int{"SUBSET": flagSubset, "INFO": flagInfo, "RESYNC": flagResync, "FINAL_OBS": flagFinalObs, "SEEDS": flagSeeds, "FINAL_INFO": flagFinalInfo} {
		if n := number(`u16 \| flags: .*?(\d+) ` + name); n != have {
			t.Errorf("%s is %d, the code has %d", name, n, have)
		}
	}
}

// A header is refused if it is too short, or has an unknown version, type or flag.
func TestHeaderBounds(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrBadFrame},
		{"23 bytes", layout(1, 0, 1, 1, 0, 1)[:23], ErrBadFrame},
		{"24 bytes", layout(1, 0, 1, 1, 0, 1), nil},
		{"version 0", append([]byte{0}, layout(1, 0, 1, 1, 0, 1)[1:]...), ErrBadVersion},
		{"version 2", append([]byte{2}, layout(1, 0, 1, 1, 0, 1)[1:]...), ErrBadVersion},
		{"type 0", layout(0, 0, 1, 1, 0, 1), ErrBadFrame},
		{"type 6", layout(6, 0, 1, 1, 0, 1), nil},
		{"type 7", layout(7, 0, 1, 1, 0, 1), ErrBadFrame},
		{"all flags", layout(1, 63, 1, 1, 0, 1), nil},
		{"one flag more", layout(1, 64, 1, 1, 0, 1), ErrBadFrame},
		{"the highest flag", layout(1, 1<<15, 1, 1, 0, 1), ErrBadFrame},
	} {
		if _, err := parseHeader(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	h, err := parseHeader(layout(3, 17, 1<<24+2, 1<<16+3, 1<<30+4, 1<<62+5))
	if want := (header{3, 17, 1<<24 + 2, 1<<16 + 3, 1<<30 + 4, 1<<62 + 5}); h != want || err != nil {
		t.Errorf("%+v, %v, want %+v", h, err, want)
	}
}

// A request is refused unless it is exactly as long as its header says, its rows exist
// and its flags are those of its type; the error gives the numbers.
func TestRequestBounds(t *testing.T) {
	one, two, three := make([]int32, 2), make([]int32, 4), make([]int32, 6) // of 1, 2 and 3 rows, S = 2
	const ack = uint64(1)
	var r request // whose memory is that of the message before
	for _, c := range []struct {
		name string
		b    []byte
		want string // "" or what the error says
	}{
		{"step", layout(1, 0, 1, 3, 0, 2, ack, three), ""},
		{"step, short", layout(1, 0, 1, 3, 0, 2, ack, three[:5]), "body of 28 bytes, want 32 for 3 rows"},
		{"step, a byte short", layout(1, 0, 1, 3, 0, 2, ack, make([]byte, 23)), "body of 31 bytes, want 32 for 3 rows"},
		{"step, a byte long", layout(1, 0, 1, 3, 0, 2, ack, make([]byte, 25)), "body of 33 bytes, want 32 for 3 rows"},
		{"step, half an ack", layout(1, 0, 1, 3, 0, 2, make([]byte, 7)), "body of 7 bytes, want at least 8"},
		{"step, an ack alone", layout(1, 0, 1, 3, 0, 2, ack), "body of 8 bytes, want 32 for 3 rows"},
		{"step of no rows", layout(1, 0, 1, 0, 0, 2, ack), "n is 0, there are 3"},
		{"step of no rows, named", layout(1, 1, 1, 0, 0, 2, ack), "n is 0, there are 3"},
		{"step of two rows, unnamed", layout(1, 0, 1, 2, 0, 2, ack, two), "n is 2, there are 3"},
		{"step of two rows", layout(1, 1, 1, 2, 0, 2, ack, []uint32{2, 0}, two), ""},
		{"step of two rows, their names missing", layout(1, 1, 1, 2, 0, 2, ack, two), "body of 24 bytes, want 32 for 2 rows"},
		{"step of three rows, named", layout(1, 1, 1, 3, 0, 2, ack, []uint32{2, 0, 1}, three), ""},
		{"step of four rows", layout(1, 1, 1, 4, 0, 2, ack, make([]int32, 12)), "n is 4, there are 3"},
		{"step with aux", layout(1, 0, 1, 3, 4, 2, ack, three), "aux_len is 4 in a request"},
		{"step with info, anew", layout(1, 6, 1, 3, 0, 2, ack, three), ""},
		{"step with last observations", layout(1, 8, 1, 3, 0, 2, ack, three), "flags 0x8 in a request of type 1"},
		{"step with seeds", layout(1, 16, 1, 3, 0, 2, ack, make([]uint64, 3), three), "flags 0x10 in a request of type 1"},
		{"step with last infos", layout(1, 32, 1, 3, 0, 2, ack, three), "flags 0x20 in a request of type 1"},
		{"step with T", layout(1, 0, 1, 3, 0, 2, ack, uint64(1), three), "body of 40 bytes, want 32 for 3 rows"},
		{"reset", layout(3, 0, 1, 3, 0, 2, ack), ""},
		{"reset, half an ack", layout(3, 0, 1, 3, 0, 2, make([]byte, 7)), "body of 7 bytes, want at least 8"},
		{"reset with actions", layout(3, 0, 1, 3, 0, 2, ack, three), "body of 32 bytes, want 8 for 3 rows"},
		{"reset with seeds", layout(3, 16, 1, 3, 0, 2, ack, make([]uint64, 3)), ""},
		{"reset with a seed too many", layout(3, 16, 1, 3, 0, 2, ack, make([]uint64, 4)), "body of 40 bytes, want 32 for 3 rows"},
		{"reset of a row with a seed", layout(3, 17, 1, 1, 0, 2, ack, uint64(1), uint32(2)), ""},
		{"reset of a row without a name", layout(3, 17, 1, 1, 0, 2, ack, uint64(1)), "body of 16 bytes, want 20 for 1 rows"},
		{"reset of a row", layout(3, 1, 1, 1, 0, 2, ack, uint32(2)), ""},
		{"many of one", layout(5, 0, 1, 3, 0, 2, ack, uint64(1), three), ""},
		{"many of two", layout(5, 0, 1, 3, 0, 2, ack, uint64(2), three, three), ""},
		{"many of two, one of them there", layout(5, 0, 1, 3, 0, 2, ack, uint64(2), three), "body of 40 bytes, want 64 for 3 rows"},
		{"many of two, of a row", layout(5, 1, 1, 1, 0, 2, ack, uint64(2), uint32(1), one, one), ""},
		{"many of none", layout(5, 0, 1, 3, 0, 2, ack, uint64(0)), "T is 0, then 0; want at least 1, then 0"},
		{"many with another word", layout(5, 0, 1, 3, 0, 2, ack, uint64(1<<32+1), three), "T is 1, then 1; want at least 1, then 0"},
		{"many, half a T", layout(5, 0, 1, 3, 0, 2, ack, make([]byte, 7)), "body of 15 bytes, want at least 16"},
		{"many with seeds", layout(5, 16, 1, 3, 0, 2, ack, uint64(1), make([]uint64, 3), three), "flags 0x10 in a request of type 5"},
		{"a result", layout(2, 0, 1, 3, 0, 2, ack, three), "type 2 is not a request"},
	} {
		h, err := parseHeader(c.b)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		r.header = h
		err = r.decode(c.b, 3, 2)
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case err == nil:
			if again := r.append(nil); !bytes.Equal(again, c.b) {
				t.Errorf("%s: read as %+v, which is % x", c.name, r, again)
			}
		case strings.HasPrefix(c.want, "n is") != errors.Is(err, env.ErrInvalidRows) || strings.HasPrefix(c.want, "n is") == errors.Is(err, ErrBadFrame):
			t.Errorf("%s: %v has another code", c.name, err)
		}
	}
}

// Each number of a request is where the protocol has it.
func TestRequestColumns(t *testing.T) {
	rows, actions, seeds := []uint32{2, 0}, []int32{math.MinInt32, -1, 0, math.MaxInt32}, []uint64{1, math.MaxUint64}
	for _, c := range []struct {
		b    []byte
		want request
	}{
		{layout(1, 7, 9, 2, 0, 8, uint64(6), rows, actions), request{Ack: 6, Steps: 1, Rows: []int{2, 0}, Actions: actions}},
		{layout(3, 17, 9, 2, 0, 8, uint64(6), seeds, rows), request{Ack: 6, Steps: 1, Seeds: seeds, Rows: []int{2, 0}}},
		{layout(3, 16, 9, 2, 0, 8, uint64(6), seeds), request{Ack: 6, Steps: 1, Seeds: seeds}},
		{layout(5, 1, 9, 2, 0, 8, uint64(6), uint32(2), uint32(0), rows, actions, actions), request{Ack: 6, Steps: 2, Rows: []int{2, 0}, Actions: append(slices.Clone(actions), actions...)}},
	} {
		c.want.header, _ = parseHeader(c.b)
		r := request{header: c.want.header}
		num := 3
		if c.want.Rows == nil {
			num = 2
		}
		if err := r.decode(c.b, num, 2); err != nil || r.Ack != c.want.Ack || r.Steps != c.want.Steps || !slices.Equal(r.Seeds, c.want.Seeds) || !slices.Equal(r.Rows, c.want.Rows) || !slices.Equal(r.Actions, c.want.Actions) {
			t.Errorf("% x: %+v, %v, want %+v", c.b, r, err, c.want)
		}
		if got := c.want.append([]byte("x")); !bytes.Equal(got, append([]byte("x"), c.b...)) {
			t.Errorf("%+v: % x, want % x", c.want, got, c.b)
		}
	}
}

// results calls each with the results of 1 to 5 rows of every form, and the columns
// that they were laid out from.
func results(each func(name string, b []byte, s shape, steps int, in *env.Batch, info, finalInfo []float32)) {
	numbers := func(n int, from float32) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = from + float32(i)/4
		}
		return x
	}
	const d, f = 2, 3
	for _, kind := range []uint8{typeStepResult, typeResetResult, typeStepManyResult} {
		for _, form := range []uint16{0, flagInfo, flagFinalObs, flagInfo | flagFinalObs, flagInfo | flagFinalObs | flagFinalInfo} {
			for n := 1; n <= 5; n++ {
				steps, rows := 1, n
				if kind == typeStepManyResult {
					steps, rows = 2, 2*n
				}
				if kind == typeResetResult && form&flagFinalObs != 0 {
					continue
				}
				in := &env.Batch{Obs: numbers(rows*d, 1), Reward: numbers(rows, 100), Terminated: make([]bool, rows), Truncated: make([]bool, rows)}
				var info, finalInfo, aux []float32
				var columns []any
				if steps > 1 {
					columns = append(columns, uint32(steps), uint32(0))
				}
				if form&flagFinalObs != 0 {
					in.FinalObs = numbers(rows*d, 200)
					in.Terminated[0], in.Truncated[rows-1] = n%2 == 0, n%2 == 1
					aux = append(aux, in.FinalObs...)
				}
				if form&flagInfo != 0 {
					info = numbers(rows*f, 300)
					aux = append(aux, info...)
				}
				if form&flagFinalInfo != 0 {
					finalInfo = numbers(rows*f, 400)
					aux = append(aux, finalInfo...)
				}
				b := layout(kind, form, 7, uint32(n), uint32(4*len(aux)), 1<<40, append(columns, in.Obs, in.Reward, in.Terminated, in.Truncated, aux)...)
				each(fmt.Sprintf("type %d, flags %#x, %d rows", kind, form, n), b, shape{num: 5, d: d, f: f, final: true}, steps, in, info, finalInfo)
			}
		}
	}
}

// A result is its columns in order, also in memory that held another.
func TestResultColumns(t *testing.T) {
	var r result
	var out env.Batch
	seen := 0
	results(func(name string, b []byte, s shape, steps int, in *env.Batch, info, finalInfo []float32) {
		seen++
		h, err := parseHeader(b)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := appendResult([]byte("x"), h, steps, in, info, finalInfo); !bytes.Equal(got, append([]byte("x"), b...)) {
			t.Errorf("%s: encoded as % x, want % x", name, got, b)
		}
		if n := resultBytes(steps > 1, len(in.Reward), s.d, len(info)/len(in.Reward), len(in.FinalObs) > 0, len(finalInfo) > 0); n != uint64(len(b)) {
			t.Errorf("%s: %d bytes are announced, it has %d", name, n, len(b))
		}
		if err := r.decode(b, s, &out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		final := in.FinalObs
		if final == nil {
			final = make([]float32, len(in.Obs)) // not sent
		}
		if r.header != h || r.Steps != steps || !slices.Equal(r.Info, info) || !slices.Equal(r.Final, finalInfo) ||
			!slices.Equal(out.Obs, in.Obs) || !slices.Equal(out.Reward, in.Reward) || !slices.Equal(out.Terminated, in.Terminated) ||
			!slices.Equal(out.Truncated, in.Truncated) || !slices.Equal(out.FinalObs, final) {
			t.Errorf("%s: read as %+v %+v", name, r, out)
		}
	})
	if seen != 5*(5+2+5) {
		t.Errorf("%d results", seen)
	}
}

// A result is refused unless its header is valid and it is exactly as long as the
// header says.
func TestResultBounds(t *testing.T) {
	var r result
	var out env.Batch
	refused := func(name string, b []byte, s shape, want string) {
		t.Helper()
		if err := r.decode(b, s, &out); !errors.Is(err, ErrBadFrame) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	results(func(name string, b []byte, s shape, steps int, in *env.Batch, info, _ []float32) {
		change := func(at int, by byte) []byte {
			b := slices.Clone(b)
			b[at] += by
			return b
		}
		n := len(in.Reward)
		refused(name+", a byte short", b[:len(b)-1], s, fmt.Sprintf("result of %d bytes, want %d for %d rows", len(b)-1, len(b), n))
		refused(name+", a byte long", append(slices.Clone(b), 0), s, fmt.Sprintf("result of %d bytes, want %d for %d rows", len(b)+1, len(b), n))
		refused(name+", another aux", change(12, (b[12]^4)-b[12]), s, fmt.Sprintf("aux_len is %d, want %d", le.Uint32(b[12:])^4, le.Uint32(b[12:])))
		refused(name+", another row", change(8, 1), shape{num: 6, d: s.d, f: s.f, final: true}, "want")
		refused(name+", more rows than there are", b, shape{num: n/steps - 1, d: s.d, f: s.f, final: true}, fmt.Sprintf("n is %d, there are %d", n/steps, n/steps-1))
		refused(name+", of a request's type", change(1, 255), s, "is not a result")
		refused(name+", RESYNC", change(2, flagResync), s, "in a result")
		refused(name+", SEEDS", change(2, flagSeeds), s, "in a result")
		if in.FinalObs != nil {
			refused(name+", of another mode", b, shape{num: s.num, d: s.d, f: s.f}, "in a result")
		} else if err := r.decode(b, shape{num: s.num, d: s.d, f: s.f}, &out); err != nil || len(out.FinalObs) != 0 {
			t.Errorf("%s, of another mode: %v, %v", name, err, out.FinalObs)
		}
		if b[2]&flagFinalInfo == 0 && (in.FinalObs == nil || info == nil) {
			refused(name+", FINAL_INFO alone", change(2, flagFinalInfo), s, "in a result")
		}
		at := headerBytes + 4*n*(s.d+1)
		if steps > 1 {
			at += 8
			refused(name+", of no steps", change(24, 254), s, "T is 0, then 0")
			refused(name+", with another word", change(28, 3), s, "T is 2, then 3")
			refused(name+", half a T", b[:31], s, "7 bytes after the header")
		}
		pad := (n + 3) / 4 * 4
		refused(name+", a flag of 2", change(at+n-1, 2-b[at+n-1]), s, fmt.Sprintf("flag of row %d is 2", n-1))
		refused(name+", another flag of 2", change(at+pad, 2-b[at+pad]), s, "flag of row 0 is 2")
	})
	refused("of no rows", layout(2, 0, 1, 0, 0, 1), shape{num: 1, d: 1}, "n is 0, there are 1")
	refused("a T beyond all bytes", layout(6, 0, 1, 1, 0, 1, uint32(9), uint32(0), uint64(0)), shape{num: 1, d: 1}, "9 rows in 40 bytes")
	refused("a T of all bytes", layout(6, 0, 1, 1, 0, 1, uint32(8), uint32(0), uint64(0)), shape{num: 1, d: 1}, "result of 40 bytes, want 112 for 8 rows")
	refused("no header", make([]byte, 23), shape{num: 1, d: 1}, "23 bytes")
}

// A buffer is extended in place or reallocated, and keeps what was written.
func TestExtend(t *testing.T) {
	for _, c := range []struct{ size, room, n int }{{0, 0, 0}, {0, 0, 5}, {3, 0, 1}, {3, 4, 4}, {3, 4, 5}, {100, 0, 3}} {
		dst := make([]byte, c.size, c.size+c.room)
		for i := range dst {
			dst[i] = byte(i + 1)
		}
		all, tail := extend(dst, c.n)
		if len(all) != c.size+c.n || len(tail) != c.n || !bytes.Equal(all[:c.size], dst) || c.n > 0 && &tail[0] != &all[c.size] {
			t.Errorf("%+v: %d and %d bytes", c, len(all), len(tail))
		}
		if same := cap(all) == cap(dst); same != (c.n <= c.room) {
			t.Errorf("%+v: memory kept: %v", c, same)
		}
	}
}
