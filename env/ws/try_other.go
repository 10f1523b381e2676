//go:build !unix

package ws

import "net"

// tryWriter is for systems where a write can be tried.
type tryWriter struct{}

func newTryWriter(net.Conn) *tryWriter { return nil }

func (*tryWriter) write([]byte) (int, error) { return 0, net.ErrClosed }
