package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// frame is a frame as a client sends it, from the bits up.
func frame(first byte, payload string) string {
	key := [4]byte{0xA1, 0x02, 0xFE, 0x44}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

// ping is an application's ping of n bytes, which a pong answers.
func ping(n int) string {
	const head, tail = `{"type":"ping","id":7,"pad":"`, `"}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

const fin = 0x80

func closing(code int, reason string) string {
	return frame(fin|opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// TestRFC6455 is what Autobahn's suite asks of a server, as far as a server
// that is no echo can be asked: framing, control frames, reserved bits,
// opcodes, fragments, UTF-8, closing, lengths. want is what comes back: a
// pong (of the application), an opcode and payload, or a close code.
func TestRFC6455(t *testing.T) {
	const pong = "pong"
	closed := func(code int) string { return fmt.Sprintf("close %d", code) }
	text := func(s string) string { return frame(fin|opText, s) }
	alive := text(ping(40))
	type rfcCase struct{ name, send, want string }
	var cases []rfcCase
	add := func(name, send, want string) { cases = append(cases, rfcCase{name, send, want}) }

	for _, n := range []int{40, 125, 126, 127, 128, 65535, 65536, maxRequest} {
		add(fmt.Sprintf("1.1 text of %d bytes", n), text(ping(n)), pong)
	}
	add("1.2 empty text", text("")+alive, "bad_frame")
	add("1.3 empty binary", frame(fin|opBinary, ""), "bad_frame")
	add("1.4 one byte more than allowed", text(ping(maxRequest + 1))[:14], closed(1009))
	add("1.5 length of 2^62", "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00abcd", closed(1009))
	add("1.6 length of 2^63", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd", closed(1002))
	add("1.7 length in too many bytes", "\x82\xfe\x00\x7dabcd", closed(1002))
	add("1.8 length in far too many bytes", "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xffabcd", closed(1002))
	add("1.9 not masked", "\x81\x02{}", closed(1002))

	for _, n := range []int{0, 1, 125} {
		p := strings.Repeat("\xfe", n)
		add(fmt.Sprintf("2.1 ping of %d bytes", n), frame(fin|opPing, p), fmt.Sprintf("op 10 %q", p))
	}
	add("2.2 ping of 126 bytes", frame(fin|opPing, strings.Repeat("x", 126)), closed(1002))
	add("2.3 unasked pong", frame(fin|opPong, "hi")+alive, pong)
	add("2.4 ping in parts", frame(opPing, "a"), closed(1002))
	add("2.5 ten pings", strings.Repeat(frame(fin|opPing, "p"), 10), strings.TrimSuffix(strings.Repeat("op 10 \"p\"\n", 10), "\n"))

	for rsv := byte(1); rsv < 8; rsv++ {
		for _, op := range []byte{opText, opBinary, opPing, opClose} {
			add(fmt.Sprintf("3 reserved bits %d, opcode %d", rsv, op), frame(fin|rsv<<4|op, "x"), closed(1002))
		}
	}
	for op := byte(0); op < 16; op++ {
		switch op {
		case opContinue, opText, opBinary, opClose, opPing, opPong:
		default:
			add(fmt.Sprintf("4 opcode %d", op), frame(fin|op, ""), closed(1002))
		}
	}

	whole := ping(60)
	add("5.1 two parts", frame(opText, whole[:30])+frame(fin|opContinue, whole[30:]), pong)
	add("5.2 empty parts", frame(opText, "")+frame(opContinue, "")+frame(opContinue, whole)+frame(fin|opContinue, ""), pong)
	parts := frame(opText, whole[:1])
	for i := 1; i < len(whole); i++ {
		parts += frame(opContinue, whole[i:i+1])
	}
	add("5.3 a part a byte", parts+frame(fin|opContinue, ""), pong)
	add("5.4 ping between parts", frame(opText, whole[:30])+frame(fin|opPing, "x")+frame(fin|opContinue, whole[30:]), "op 10 \"x\"\npong")
	add("5.5 continuation of nothing", frame(fin|opContinue, "x"), closed(1002))
	add("5.6 continuation of nothing, unfinished", frame(opContinue, "x"), closed(1002))
	add("5.7 text within parts", frame(opText, "x")+text("x"), closed(1002))
	add("5.8 binary within parts", frame(opText, "x")+frame(fin|opBinary, "x"), closed(1002))
	add("5.9 continuation after the last part", frame(opText, whole[:30])+frame(fin|opContinue, whole[30:])+frame(fin|opContinue, "x"), "pong\n"+closed(1002))
	half := strings.Repeat("x", maxRequest/2+1)
	add("5.10 parts that are too long together", frame(opBinary, half)+frame(fin|opContinue, half)[:14], closed(1009))

	for _, s := range []string{ // Markus Kuhn's stress test, in short
		"\u00e9", "κόσμε", "\x00", "\u0080", "\u0800", "\U00010000", "\x7f", "\u07ff", "\uffff", "\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "\ufdd0", "日本語",
	} {
		quoted := strings.ReplaceAll(s, "\x00", `\u0000`)
		add(fmt.Sprintf("6.1 UTF-8 %+q", s), text(`{"type":"ping","id":7,"pad":"`+quoted+`"}`), pong)
		if m := `{"type":"ping","id":7,"pad":"` + quoted + `"}`; len(quoted) > 1 { // split within a character
			add(fmt.Sprintf("6.2 UTF-8 %+q in parts", s), frame(opText, m[:30])+frame(fin|opContinue, m[30:]), pong)
		}
	}
	for _, s := range []string{
		"\x80", "\xbf", "\x80\xbf\x80", "\xc0 ", "\xe0 ", "\xf0 ", "\xf8 ", "\xfc ", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xfe", "\xff",
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xc0\x80",
		"\xed\xa0\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
	} {
		add(fmt.Sprintf("6.3 no UTF-8 %q", s), text(`{"type":"ping","id":7,"pad":"`+s+`"}`), closed(1007))
		add(fmt.Sprintf("6.4 no UTF-8 %q in parts", s), frame(opText, `{"type":"ping","id":7,"pad":"`+s)+frame(fin|opContinue, `"}`), closed(1007))
	}
	add("6.5 binary need not be UTF-8", frame(fin|opBinary, "\xff\xfe"), "bad_frame")

	add("7.1 close without a code", frame(fin|opClose, ""), closed(1000))
	add("7.2 close of one byte", frame(fin|opClose, "\x03"), closed(1002))
	add("7.3 a message after close", closing(1000, "")+alive, closed(1000))
	add("7.4 a ping after close", closing(1000, "")+frame(fin|opPing, ""), closed(1000))
	add("7.5 the longest reason", closing(1000, strings.Repeat("x", 123)), closed(1000))
	add("7.6 a longer reason", closing(1000, strings.Repeat("x", 124)), closed(1002))
	add("7.7 a reason that is no UTF-8", closing(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"), closed(1007))
	add("7.8 close within parts", frame(opText, "x")+closing(1000, ""), closed(1000))
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7.9 code %d", code), closing(code, ""), closed(code))
	}
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(fmt.Sprintf("7.10 code %d", code), closing(code, ""), closed(1002))
	}

	for _, how := range []struct {
		name  string
		piece int // bytes of a write
	}{{"whole", 1 << 30}, {"in pieces", 7}} {
		t.Run(how.name, func(t *testing.T) {
			for _, c := range cases {
				if how.piece < 100 && len(c.send) > 1000 {
					continue
				}
				faked(t, Options{}, func(t *testing.T, s *Server) {
					p := pipe(t, s, false)
					p.say(`{"type":"hello","id":0,"version":1}`)
					p.want("welcome")
					go func() {
						b := []byte(c.send)
						for len(b) > 0 {
							n, err := p.net.Write(b[:min(how.piece, len(b))])
							if err != nil {
								return
							}
							b = b[n:]
						}
					}()
					var got []string
					for range strings.Count(c.want, "\n") + 1 {
						got = append(got, p.outcome())
					}
					if g := strings.Join(got, "\n"); g != c.want {
						t.Errorf("%s: %s, want %s", c.name, g, c.want)
					}
					_ = p.net.Close()
					synctest.Wait()
				})
			}
		})
	}
	if len(cases) < 180 {
		t.Errorf("only %d cases", len(cases))
	}
}

// outcome is the next that comes, in words.
func (p *peer) outcome() string {
	op, b, err := p.in.next()
	var own *CloseError
	switch {
	case errors.As(err, &own):
		return "not a server's frame: " + own.Text
	case err != nil:
		return err.Error()
	case op == opClose:
		return fmt.Sprintf("close %d", parseClose(b).Code)
	case op == opText && bytes.Contains(b, []byte(`"type":"pong"`)):
		return "pong"
	case op == opText && bytes.Contains(b, []byte(`"code":"bad_frame"`)):
		return "bad_frame"
	}
	return fmt.Sprintf("op %d %q", op, b)
}
