package packet

import "iter"

// Kinds of TCP options (RFC 9293, section 3.2; RFC 7323; RFC 2018).
const (
	MSS           = 2
	WindowScale   = 3
	SACKPermitted = 4
	Timestamps    = 8
)

// Options yields the kind and the value of TCP options in order, without padding
// (NOP). It stops at the end-of-list option and at one that is cut or has no length.
func Options(o []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for len(o) > 0 && o[0] != 0 {
			if o[0] == 1 {
				o = o[1:]
				continue
			}
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				return
			}
			n := o[1]
			if !yield(o[0], o[2:n]) {
				return
			}
			o = o[n:]
		}
	}
}
