package sendpcap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// open makes a raw socket on an interface (packet(7)).
func open(name string, protocol uint16) (fd int, at *unix.SockaddrLinklayer, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, nil, fmt.Errorf("sendpcap: interface %s: %w", name, err)
	}
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], protocol)
	net16 := binary.NativeEndian.Uint16(b[:])
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(net16))
	if err != nil {
		return 0, nil, fmt.Errorf("sendpcap: raw socket: %w: it takes CAP_NET_RAW", err)
	}
	at = &unix.SockaddrLinklayer{Protocol: net16, Ifindex: i.Index}
	if err := unix.Bind(fd, at); err != nil {
		unix.Close(fd)
		return 0, nil, fmt.Errorf("sendpcap: bind to %s: %w", name, err)
	}
	return fd, at, nil
}

// Send sends a capture. It waits for each frame's time: sleeps until half a
// millisecond before, then spins.
func Send(ctx context.Context, path string, o Options) (*Sent, error) {
	frames, bytes, err := load(path)
	if err != nil {
		return nil, err
	}
	fd, _, err := open(o.Interface, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	r := &Sent{}
	late := make([]time.Duration, 0, min(len(frames)*o.Times, 1<<20))
	last := frames[len(frames)-1].at
	period := last + last/int64(max(len(frames)-1, 1)) // the mean gap between one time and the next
	begin := time.Now()
	reported := 0
	for k := range o.Times {
		for _, f := range frames {
			due := time.Duration(float64(f.at+int64(k)*period) / o.Speed)
			if wait := due - time.Since(begin); wait > 500*time.Microsecond {
				if o.Sent != nil {
					o.Sent(r.Frames - reported)
					reported = r.Frames
				}
				t := time.NewTimer(wait - 500*time.Microsecond)
				select {
				case <-t.C:
				case <-ctx.Done():
					t.Stop()
					return r, ctx.Err()
				}
			}
			for time.Since(begin) < due {
			}
			if r.Frames%1024 == 0 && ctx.Err() != nil {
				return r, ctx.Err()
			}
			for {
				_, err = unix.Write(fd, bytes[f.from:f.to])
				if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
					break
				}
				if err := ctx.Err(); err != nil {
					return r, err
				}
				time.Sleep(50 * time.Microsecond) // the interface's queue is full
			}
			if err != nil {
				return r, fmt.Errorf("sendpcap: frame %d, of %d bytes: %w", r.Frames+1, f.to-f.from, err)
			}
			if len(late) < cap(late) {
				late = append(late, time.Since(begin)-due)
			}
			r.Frames++
			r.Bytes += int64(f.to - f.from)
		}
	}
	if o.Sent != nil {
		o.Sent(r.Frames - reported)
	}
	r.Seconds = time.Since(begin).Seconds()
	r.Asked = float64(last+int64(o.Times-1)*period) / 1e9 / o.Speed
	slices.Sort(late)
	r.LateMedian, r.LateMax = late[len(late)/2], late[len(late)-1]
	return r, nil
}

// Listener counts frames that come in at an interface.
type Listener struct{ fd int }

// Listen begins to collect frames; Count counts them.
func Listen(name string) (*Listener, error) {
	fd, _, err := open(name, unix.ETH_P_ALL)
	if err != nil {
		return nil, err
	}
	// Room for all that comes while this process waits for a processor. Root of a
	// user namespace may not exceed the system's limit.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<20)
	}
	return &Listener{fd}, nil
}

// Count counts until sent is closed and then a second passes without a frame,
// or ctx is done, and closes the listener.
func (l *Listener) Count(ctx context.Context, known *Known, sent <-chan struct{}) (c Counted) {
	defer unix.Close(l.fd)
	defer func() {
		if s, err := unix.GetsockoptTpacketStats(l.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			c.Missed = int(s.Drops)
		}
	}()
	tv := unix.NsecToTimeval(int64(100 * time.Millisecond))
	if err := unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		c.Err = fmt.Errorf("sendpcap: %w", err)
		return c
	}
	buf := make([]byte, 1<<17)
	quiet := time.Now()
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(l.fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			select {
			case <-sent:
				if time.Since(quiet) > time.Second {
					return c
				}
			default:
				quiet = time.Now()
			}
			continue
		case err != nil:
			c.Err = fmt.Errorf("sendpcap: receive: %w", err)
			return c
		}
		if a, ok := from.(*unix.SockaddrLinklayer); ok && a.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if !known.sum[crc64.Checksum(buf[:n], table)] {
			c.Others++
			continue
		}
		c.Frames++
		c.Bytes += int64(n)
		quiet = time.Now()
	}
	return c
}
