package bmv2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// A reply may hold fields of any type before the result: each is as long as
// the specification of the binary protocol says, so that the result is found.
func TestFieldsAreSkippedWhole(t *testing.T) {
	const head = "80010002 00000001 41 00000007 "
	for _, c := range []struct{ name, field string }{
		{"none", ""},
		{"bool", "02 0009 01"},
		{"byte", "03 0009 ff"},
		{"double", "04 0009 3ff0000000000000"},
		{"i16", "06 0009 0102"},
		{"i32", "08 0009 01020304"},
		{"i64", "0a 0009 0102030405060708"},
		{"string", "0b 0009 00000003 616263"},
		{"empty string", "0b 0009 00000000"},
		{"longest string", "0b 0009 00010000" + strings.Repeat("20", 1<<16)},
		{"empty struct", "0c 0009 00"},
		{"struct", "0c 0009 02 0001 01 06 0002 0102 0b 0003 00000001 61 00"},
		{"structs in a struct", "0c 0009 0c 0001 08 0001 00000001 00 0c 0002 00 02 0003 01 00"},
		{"empty map", "0d 0009 08 0b 00000000"},
		{"map", "0d 0009 06 0b 00000002 0001 00000001 61 0002 00000002 6263"},
		{"map of structs", "0d 0009 0c 03 00000002 0200010000 01 00 02"},
		{"set", "0e 0009 03 00000003 010203"},
		{"list", "0f 0009 0a 00000002 0000000000000001 0000000000000002"},
		{"list of lists", "0f 0009 0f 00000002 03 00000001 01 06 00000002 0001 0002"},
		{"two of them", "02 0009 01 06 000a 0102"},
		{"a result of another type", "06 0000 0102"},
	} {
		// With an id other than 0 the field is a declared exception; with the
		// result's id and another type it says nothing.
		in := head + strings.NewReplacer(" 0009 ", " 0000 ", " 000a ", " 0000 ").Replace(c.field)
		got, err := readReply(bytes.NewReader(unhex(t, in+"08 0000 0000002a 00")), service, "A", 7)
		if got != 42 || err != nil {
			t.Errorf("%s before the result: %d, %v; want 42", c.name, got, err)
		}
		if c.field == "" || c.name == "a result of another type" {
			continue
		}
		var refused *SwitchError
		got, err = readReply(bytes.NewReader(unhex(t, head+c.field+"08 0000 0000002a 00")), service, "A", 7)
		if got != 0 || !errors.As(err, &refused) || !strings.HasSuffix(refused.Message, " of the method") {
			t.Errorf("%s as a declared exception: %d, %v", c.name, got, err)
		}
	}
}

// Values may be nested 16 deep, whatever holds them; a length is at most 64 Ki.
func TestBoundsOfValues(t *testing.T) {
	const head = "80010002 00000001 41 00000007 "
	for _, c := range []struct {
		name string
		with func(n int) string // a field of n containers around a byte
	}{
		{"lists", func(n int) string { return "0f 0000 " + strings.Repeat("0f 00000001 ", n-1) + "03 00000001 01 " }},
		{"structs", func(n int) string {
			return "0c 0000 " + strings.Repeat("0c 0001 ", n-1) + "03 0001 01 " + strings.Repeat("00 ", n)
		}},
		{"values of maps", func(n int) string {
			s := "0d 0000 "
			for range n - 1 {
				s += "03 0d 00000001 01 "
			}
			return s + "03 03 00000001 01 01 "
		}},
		{"keys of maps", func(n int) string {
			s, end := "0d 0000 ", ""
			for range n - 1 {
				s, end = s+"0d 03 00000001 ", end+"01 "
			}
			return s + "03 03 00000001 01 01 " + end
		}},
	} {
		for n, ok := range map[int]bool{1: true, 15: true, 16: true, 17: false, 30: false} {
			v, err := readReply(bytes.NewReader(unhex(t, head+c.with(n)+"08 0000 0000002a 00")), service, "A", 7)
			if ok && (v != 42 || err != nil) || !ok && (v != 0 || err == nil || err.Error() != "bmv2: reply to A: values nested too deep") {
				t.Errorf("%d %s around a byte: %d, %v", n, c.name, v, err)
			}
			var refused *SwitchError
			v, err = readReply(bytes.NewReader(unhex(t, head+strings.Replace(c.with(n), " 0000 ", " 0009 ", 1)+"00")), service, "A", 7)
			if v != 0 || errors.As(err, &refused) != ok {
				t.Errorf("%d %s around a byte, as a declared exception: %d, %v", n, c.name, v, err)
			}
		}
	}
	for length, want := range map[string]string{
		"00010001": "bmv2: reply to A: a length of 65537",
		"ffffffff": "bmv2: reply to A: a length of -1",
		"00010000": "bmv2: reply to A: unexpected EOF",
	} {
		if v, err := readReply(bytes.NewReader(unhex(t, head+"0b 0000 "+length+"20")), service, "A", 7); v != 0 || err == nil || err.Error() != want {
			t.Errorf("length %s: %d, %v; want %s", length, v, err, want)
		}
	}
}

// After a reader's first error, which it keeps, all that it reads is zero.
func TestReaderAfterAnError(t *testing.T) {
	r := &reader{r: bytes.NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})}
	if v := r.i64(); v != 0x0102030405060708 || r.err != nil {
		t.Fatalf("%#x, %v", v, r.err)
	}
	if v := r.i32(); v != 0 || !errors.Is(r.err, io.ErrUnexpectedEOF) {
		t.Errorf("two bytes of four: %#x, %v", v, r.err)
	}
	r.r = strings.NewReader(strings.Repeat("\x01", 100)) // more would come
	got := fmt.Sprintf("%v %v %v %v %v %q", r.i8(), r.i16(), r.i32(), r.i64(), r.size(), r.string())
	if want := `0 0 0 0 0 ""`; got != want || !errors.Is(r.err, io.ErrUnexpectedEOF) {
		t.Errorf("after an error: %s, %v; want %s", got, r.err, want)
	}
}
