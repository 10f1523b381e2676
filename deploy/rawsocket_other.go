//go:build !linux

package deploy

import (
	"context"
	"errors"
)

// Raw needs Linux's packet sockets.
func Raw(string) (send func(ctx context.Context, frame []byte) error, done func() error, err error) {
	return nil, nil, errors.New("deploy: probes leave by an interface on Linux only; elsewhere by packet out")
}
