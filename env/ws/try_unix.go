//go:build unix

package ws

import (
	"net"
	"syscall"
)

// tryWriter writes what the network takes without waiting.
type tryWriter struct {
	raw syscall.RawConn
	b   []byte
	n   int
	err error
	do  func(fd uintptr) bool // once is allocated here, not at each write
}

// newTryWriter is nil where c cannot be written so: TLS, a pipe.
func newTryWriter(c net.Conn) *tryWriter {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	t := &tryWriter{raw: raw}
	t.do = t.once
	return t
}

func (t *tryWriter) once(fd uintptr) bool {
	for {
		t.n, t.err = syscall.Write(int(fd), t.b)
		if t.err != syscall.EINTR {
			return true
		}
	}
}

// write is how many bytes of b were taken.
func (t *tryWriter) write(b []byte) (int, error) {
	t.b = b
	err := t.raw.Write(t.do)
	t.b = nil
	switch {
	case err != nil:
		return 0, err
	case t.err == syscall.EAGAIN:
		return 0, nil
	case t.err != nil:
		return 0, t.err
	}
	return t.n, nil
}
