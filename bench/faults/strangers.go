package main

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/planegym/planegym/env/ws"
)

// Faults that clients bring: many, large, malformed, slow, idle.

func connects(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0", "--max-sessions", "64")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	var held []*ws.Client
	for range 64 {
		c, err := dial(s.url, 1)
		if err != nil {
			return "", false, err
		}
		held = append(held, c)
	}
	before, err := s.rss()
	if err != nil {
		return "", false, err
	}
	goroutines, err := s.metric("go_goroutines")
	if err != nil {
		return "", false, err
	}
	const total, workers = 10000, 16
	var mu sync.Mutex
	var took []time.Duration
	var other atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range total / workers {
				start := time.Now()
				c, err := raw(s.addr)
				if err != nil {
					other.Add(1)
					continue
				}
				_ = say(c, hello)
				_, p, err := hear(c)
				d := time.Since(start)
				if err != nil || !bytes.Contains(p, []byte(`"code":"capacity"`)) {
					other.Add(1)
				}
				c.Close()
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var after, left float64
	for range 60 {
		time.Sleep(time.Second)
		if after, err = s.rss(); err != nil {
			return "", false, err
		}
		if left, err = s.metric("go_goroutines"); err != nil {
			return "", false, err
		}
		if after <= 1.1*before && left <= goroutines+1 {
			break
		}
	}
	p99 := percentile(took, 99)
	figure := fmt.Sprintf("%d connects, %d at a time: p50 %.1f ms, p99 %.1f ms, %d not refused with capacity; RSS %.1f → %.1f MiB, goroutines %.0f → %.0f",
		total, workers, ms(percentile(took, 50)), ms(p99), other.Load(), before/mib, after/mib, goroutines, left)
	pass := p99 <= 50*time.Millisecond && other.Load() == 0 && after <= 1.1*before && left <= goroutines+1
	for _, c := range held {
		_ = c.Close()
	}
	return figure, pass, s.stop()
}

func oversize(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	const times = 200
	say1009 := func(over int) error { // a message of 1 KiB, or of 1 MiB and over
		c, err := raw(s.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = say(c, hello)
		if _, _, err := hear(c); err != nil {
			return err
		}
		n := 1024
		if over > 0 {
			n = mib + over
		}
		go func() {
			_, _ = c.Write(append([]byte{0x82, 0x80 | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, 0, 0, 0}, make([]byte, n)...))
		}()
		op, p, err := hear(c)
		if err != nil || op != 8 || int(p[0])<<8|int(p[1]) != 1009 && over > 0 {
			return fmt.Errorf("opcode %d %q %v", op, p, err)
		}
		return nil
	}
	for range times { // connections alone cost memory too: these go before
		if err := say1009(0); err != nil {
			return "", false, err
		}
	}
	before, err := s.rss()
	if err != nil {
		return "", false, err
	}
	for range times {
		if err := say1009(1); err != nil {
			return err.Error(), false, nil
		}
	}
	after, err := s.rss()
	if err != nil {
		return "", false, err
	}
	return fmt.Sprintf("%d messages: 1009 each; RSS %.1f → %.1f MiB", times, before/mib, after/mib), after-before < 4*mib, s.stop()
}

// malformed sends ten broken frames a second.
func malformed(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	var answers []time.Duration
	disturb := func(stop <-chan struct{}) {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			c, err := raw(s.addr)
			if err != nil {
				continue
			}
			_ = say(c, hello)
			if _, _, err = hear(c); err == nil {
				start := time.Now()
				_, _ = c.Write([]byte{byte(0x83 + i%5), 0x80 | 3, 1, 2, 3, 4, 5, 6, 7})
				if _, _, err = hear(c); err == nil {
					answers = append(answers, time.Since(start))
				}
			}
			c.Close()
		}
	}
	const d = 500 * time.Millisecond
	change, control, err := beside(s.url, 20, d, func() ([]time.Duration, error) {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { disturb(stop) })
		defer wg.Wait()
		defer close(stop)
		return latency(s.url, d)
	}, func(times []time.Duration) float64 { return float64(percentile(times, 99)) })
	if err != nil {
		return "", false, err
	}
	n, a := len(answers), percentile(answers, 99)
	figure := fmt.Sprintf("%d frames answered, p99 %.2f ms; neighbour's p99, median of 20 rounds and quartiles: %v; alone against alone %v", n, ms(a), change, control)
	return figure, n > 0 && a <= 100*time.Millisecond && change[1] <= 10, s.stop()
}

// slow has eight clients that ask and do not read.
func slow(b *bench) (string, bool, error) {
	s, err := b.start("--addr", "127.0.0.1:0")
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	const rounds, clients = 4, 8
	change, control, err := beside(s.url, rounds, 1500*time.Millisecond, func() ([]time.Duration, error) {
		return besideSlow(s, clients, 1500*time.Millisecond)
	}, func(times []time.Duration) float64 { return float64(len(times)) })
	if err != nil {
		return "", false, err
	}
	cut, err := s.metric(`planegym_errors_total{code="slow_consumer"}`)
	if err != nil {
		return "", false, err
	}
	figure := fmt.Sprintf("%.0f of %d cut; another session's steps/s, median of %d rounds and quartiles: %v; alone against alone %v", cut, rounds*clients, rounds, change, control)
	return figure, cut == rounds*clients && change[1] > -5, s.stop()
}

// besideSlow steps a session for d while others ask and do not read, until they are cut.
func besideSlow(s *server, clients int, d time.Duration) ([]time.Duration, error) {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range clients {
		c, err := raw(s.addr)
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
		for _, m := range []string{hello, `{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":16384}`} {
			if err := say(c, m); err != nil {
				return nil, err
			}
		}
	}
	time.Sleep(time.Second)
	for i := range conns { // 80 replies of 360 KB, more than the network takes
		for seq := 2; seq < 82; seq++ {
			_ = say(conns[i], fmt.Sprintf(`{"type":"state","id":%d,"ack":1,"env":1,"rows":[0,1,2,3]}`, seq))
		}
		var frame []byte
		for seq := 82; seq < 162; seq++ {
			body := []byte{1, 3, 0, 0, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, byte(seq), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}
			frame = append(append(frame, 0x82, 0x80|byte(len(body)), 0, 0, 0, 0), body...)
		}
		_, _ = conns[i].Write(frame)
	}
	for busy := -1.0; ; { // until their requests are executed
		time.Sleep(500 * time.Millisecond)
		now, err := s.metric("planegym_requests_total")
		if err != nil {
			return nil, err
		}
		if now == busy {
			break
		}
		busy = now
	}
	times, err := latency(s.url, d) // while they hang
	if err != nil {
		return nil, err
	}
	time.Sleep(5 * time.Second) // they are cut
	return times, nil
}

func idle(b *bench) (string, bool, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", false, err
	}
	total := min(10000, int(limit.Max)-200)
	unix := filepath.Join(b.dir, "s")
	s, err := b.start("--unix", unix, "--max-sessions", strconv.Itoa(total+1))
	if err != nil {
		return "", false, err
	}
	defer s.kill()
	empty, err := s.rss()
	if err != nil {
		return "", false, err
	}
	conns := make([]net.Conn, 0, total)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range total {
		c, err := raw(unix)
		if err != nil {
			return "", false, fmt.Errorf("session %d: %w", len(conns), err)
		}
		conns = append(conns, c)
		for _, m := range []string{hello, `{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":1}`, `{"type":"reset","id":2,"ack":1,"env":1,"seed":"7"}`} {
			if err := say(c, m); err != nil {
				return "", false, err
			}
			if _, _, err := hear(c); err != nil {
				return "", false, err
			}
		}
	}
	most := 0.0
	for range 5 {
		time.Sleep(time.Second)
		now, err := s.rss()
		if err != nil {
			return "", false, err
		}
		most = max(most, now)
	}
	heap, err := s.metric("go_memstats_heap_inuse_bytes")
	if err != nil {
		return "", false, err
	}
	stack, err := s.metric("go_memstats_stack_inuse_bytes")
	if err != nil {
		return "", false, err
	}
	figure := fmt.Sprintf("%d sessions with a cartpole each: RSS %.0f MiB (%.0f empty; heap %.0f, stacks %.0f)", total, most/mib, empty/mib, heap/mib, stack/mib)
	return figure, total == 10000 && most <= 300*mib, nil
}
