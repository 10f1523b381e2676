package deploy

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Raw opens a network interface to send frames by; it wants CAP_NET_RAW.
func Raw(name string) (send func(ctx context.Context, frame []byte) error, done func() error, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("deploy: interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("deploy: interface %s: a raw socket (as root, or with CAP_NET_RAW): %w", name, err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: i.Index}
	return func(_ context.Context, frame []byte) error {
			if err := unix.Sendto(fd, frame, 0, to); err != nil {
				return fmt.Errorf("deploy: interface %s: %w", name, err)
			}
			return nil
		}, func() error {
			return unix.Close(fd)
		}, nil
}
