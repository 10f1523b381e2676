//go:build !linux

package sendpcap

import (
	"context"
	"errors"
)

var errLinux = errors.New("sendpcap: raw frames are sent on Linux alone")

// Send needs Linux.
func Send(context.Context, string, Options) (*Sent, error) { return nil, errLinux }

// Listener counts frames that come in at an interface.
type Listener struct{}

// Listen needs Linux.
func Listen(string) (*Listener, error) { return nil, errLinux }

// Count needs Linux.
func (*Listener) Count(context.Context, *Known, <-chan struct{}) Counted {
	return Counted{Err: errLinux}
}
