package ws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hello opens a session without an environment, and gives the welcome.
func (p *peer) hello(capabilities string) map[string]any {
	p.t.Helper()
	p.say(`{"type":"hello","id":4,"client":"t","version":1,"capabilities":[%s]}`, capabilities)
	return p.want("welcome")
}

// The welcome says what the server's options are.
func TestWelcome(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "map[capabilities:[episode_end final_info info reset_options resume state step_many] id:4 limits:map[envs:16 idle_seconds:600 in_flight:64 ping_seconds:20 pong_seconds:10 reply_bytes:1.6777216e+07 request_bytes:1.048576e+06 resume_seconds:60] server:planegym type:welcome versions:[1]]"},
		{Options{Name: "gym", MaxEnvs: 2, IdleTimeout: time.Minute, PingAfter: time.Second, PongTimeout: 2 * time.Second, ResumeFor: 3 * time.Second}, "map[capabilities:[episode_end final_info info reset_options resume state step_many] id:4 limits:map[envs:2 idle_seconds:60 in_flight:64 ping_seconds:1 pong_seconds:2 reply_bytes:1.6777216e+07 request_bytes:1.048576e+06 resume_seconds:3] server:gym type:welcome versions:[1]]"},
		{Options{ResumeFor: -1}, "map[capabilities:[episode_end final_info info reset_options state step_many] id:4 limits:map[envs:16 idle_seconds:600 in_flight:64 ping_seconds:20 pong_seconds:10 reply_bytes:1.6777216e+07 request_bytes:1.048576e+06 resume_seconds:0] server:planegym type:welcome versions:[1]]"},
	} {
		faked(t, c.o, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			m := p.hello("")
			token, id := m["resume_token"].(string), m["session"].(string)
			delete(m, "resume_token")
			delete(m, "session")
			if fmt.Sprint(m) != c.want || len(id) != 32 || (len(token) == 32) != (s.opts.ResumeFor > 0) || id == token {
				t.Errorf("%v, want %s; session %s, token %s", m, c.want, id, token)
			}
			for _, ss := range s.sessions {
				if ss.token != "" {
					t.Error("the session keeps its token")
				}
			}
			if !s.watching { // one goroutine, for all sessions
				t.Error("nothing watches the session")
			}
			_ = p.net.Close()
			synctest.Wait()
			if n := len(s.sessions); (n > 0) != (s.opts.ResumeFor > 0) && n != 0 {
				t.Errorf("%d sessions wait", n)
			}
		})
	}
}

// A request whose number was answered before gets the same reply again, as long as the
// server still has it. A number whose reply is gone, or that is not the next, ends the
// session.
func TestNumbers(t *testing.T) {
	for name, c := range map[string]struct {
		ack, again int
		want       string
	}{
		"the next": {2, 6, "state_result"}, "the first": {0, 1, "made"}, "the second": {1, 2, "reset_result"}, "the last": {2, 5, "state_result"},
		"one acknowledged": {3, 2, "session_lost"}, "the acknowledged": {3, 3, "session_lost"}, "the first acknowledged": {3, 1, "session_lost"}, "after the acknowledged": {3, 4, "state_result"},
		"none": {0, 0, "bad_frame number 0, want 6"}, "one too far": {0, 7, "bad_frame number 7, want 6"},
	} {
		t.Run(name, func(t *testing.T) {
			faked(t, Options{}, func(t *testing.T, s *Server) {
				p := pipe(t, s, false)
				p.hello("")
				p.say(`{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":1}`)
				p.want("made")
				p.say(`{"type":"reset","id":2,"ack":0,"env":1,"seed":"7"}`)
				p.want("reset_result")
				for id := 3; id < 6; id++ {
					ack := 0
					if id == 5 {
						ack = c.ack
					}
					p.say(`{"type":"state","id":%d,"ack":%d,"env":1}`, id, ack)
					p.want("state_result")
				}
				p.say(`{"type":"state","id":%d,"ack":0,"env":1}`, c.again)
				code, text, _ := strings.Cut(c.want, " ")
				m := p.want(code)
				if m["id"] != float64(c.again) || text != "" && !strings.HasSuffix(m["message"].(string), text) {
					t.Errorf("%v", m)
				}
				if m["type"] == "error" {
					p.wantClose(map[string]int{"bad_frame": closeBadFrame, "session_lost": closeLost}[code])
				} else {
					p.say(`{"type":"state","id":%d,"ack":0,"env":1}`, max(6, c.again+1))
					p.want("state_result")
				}
				_ = p.net.Close()
			})
		})
	}
}

// A binary request acknowledges replies as a text request does.
func TestBinaryAcknowledgement(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		token := p.start()
		say := func(seq, ack uint64, flags uint16) (op byte, b []byte) {
			t.Helper()
			p.ask(request{header: header{Type: typeStep, Flags: flags, Env: 1, N: 1, Seq: seq}, Ack: ack, Actions: []int32{1}})
			return p.next()
		}
		if op, b := say(3, 3, 0); op != opText || !bytes.Contains(b, []byte(`"bad_frame","message":"malformed or out-of-turn message: ack is 3, the last reply was 2"`)) {
			t.Errorf("an ack of itself: %d %s", op, b)
		}
		if op, b := say(4, 3, 0); op != opText || !bytes.Contains(b, []byte(`"skipped"`)) {
			t.Errorf("after an error: %d %s", op, b)
		}
		if op, b := say(5, 4, flagResync); op != opBinary {
			t.Errorf("anew: %d %s", op, b)
		}
		_ = p.net.Close()
		synctest.Wait()
		for last, want := range []string{4: "resumed", 5: "resumed", 6: "session_lost"} {
			if want == "" {
				continue
			}
			p := pipe(t, s, false)
			p.resume(token, last)
			p.want(want)
			_ = p.net.Close()
			synctest.Wait()
		}
	})
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		token := p.start()
		for seq := uint64(3); seq < 6; seq++ { // 4 acknowledges 3, 5 acknowledges 4
			p.ask(request{header: header{Type: typeStep, Env: 1, N: 1, Seq: seq}, Ack: seq - 1, Actions: []int32{1}})
			if op, b := p.next(); op != opBinary {
				t.Fatalf("%s", b)
			}
		}
		_ = p.net.Close()
		synctest.Wait()
		p = pipe(t, s, false)
		p.resume(token, 3)
		p.want("session_lost")
		_ = p.net.Close()
	})
}

// The server keeps the latest 64 replies, even if the client has acknowledged none.
func TestTheLatestRepliesAreKept(t *testing.T) {
	for last, ok := range map[int]bool{70 - inFlight: true, 70 - inFlight - 1: false, 70: true, 71: false} {
		faked(t, Options{}, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			token := p.start()
			for id := 3; id <= 70; id++ {
				p.say(`{"type":"state","id":%d,"ack":0,"env":1}`, id)
				p.want("state_result")
			}
			_ = p.net.Close()
			synctest.Wait()
			p = pipe(t, s, false)
			p.say(`{"type":"resume","id":9,"version":1,"token":%q,"last_seq":%d}`, token, last)
			if !ok {
				if m := p.want("session_lost"); m["id"] != 9.0 || !strings.HasSuffix(m["message"].(string), fmt.Sprintf("last_seq is %d, and not all replies from there to 70 are kept", last)) {
					t.Errorf("%v", m)
				}
				p.wantClose(closeLost)
				return
			}
			if m := p.want("resumed"); m["accepted"] != 70.0 || m["id"] != 9.0 || fmt.Sprint(m["versions"]) != "[1]" {
				t.Errorf("%v", m)
			}
			for id := last + 1; id <= 70; id++ {
				if m := p.want("state_result"); m["id"] != float64(id) {
					t.Errorf("%v, want the reply to %d", m, id)
				}
			}
			_ = p.net.Close()
		})
	}
}

// The buffers of up to four forgotten replies are reused, unless they are long.
func TestReplyMemory(t *testing.T) {
	var s session
	most := maxReply / inFlight
	for seq := uint64(1); seq <= 6; seq++ {
		s.replies[seq%inFlight] = reply{seq, opText, make([]byte, 1, most+int(seq/6))}
	}
	s.next = 7
	s.replied.Store(6)
	if err := s.ack(1); err != nil || len(s.spare) != 1 {
		t.Errorf("%v, %d spare", err, len(s.spare))
	}
	if b := s.buffer(7); len(b) != 0 || cap(b) != most || len(s.spare) != 0 {
		t.Errorf("%d of %d bytes, %d spare", len(b), cap(b), len(s.spare))
	}
	if b := s.buffer(8); b != nil {
		t.Errorf("%d bytes of memory that is not there", cap(b))
	}
	if err := s.ack(5); err != nil || len(s.spare) != 4 || s.acked != 5 {
		t.Errorf("%v, %d spare", err, len(s.spare))
	}
	s.replies[2] = reply{2, opText, make([]byte, 1, 10)}
	if b := s.buffer(2 + inFlight); cap(b) != most || len(s.spare) != 3 || s.replies[2].seq != 0 {
		t.Errorf("%d bytes, %d spare", cap(b), len(s.spare))
	}
	if err := s.ack(6); err != nil || len(s.spare) != 3 { // that one is too long
		t.Errorf("%v, %d spare", err, len(s.spare))
	}
	for i := range s.replies {
		if s.replies[i].seq != 0 || s.replies[i].buf != nil {
			t.Errorf("reply %d is kept", s.replies[i].seq)
		}
	}
}

// A text reply of more than 16 MiB, or one that cannot be written as JSON, becomes an
// error reply.
func TestLongestReply(t *testing.T) {
	s := NewServer(Options{Open: open})
	w := &wire{}
	ss := lone(s, w)
	said := func(m any) string {
		w.wrote = nil
		ss.replyText(1, m)
		_ = ss.conn.flush()
		if ss.sendErr != nil {
			t.Error(ss.sendErr)
		}
		if string(ss.replies[1].buf) != w.all()[len(w.all())-len(ss.replies[1].buf):] {
			t.Error("another reply is kept than was sent")
		}
		return string(ss.replies[1].buf)
	}
	if got := said(strings.Repeat("x", maxReply-2)); len(got) != maxReply {
		t.Errorf("of 16 MiB: %d bytes, %.200s", len(got), got)
	}
	if got := said(strings.Repeat("x", maxReply-1)); !strings.Contains(got, `"id":1,"code":"capacity","message":"over capacity: a reply of 16777217 bytes, the most is 16777216"`) {
		t.Errorf("of a byte more: %.200s", got)
	}
	if got := said(func() {}); !strings.Contains(got, `"id":1,"code":"env_error","message":"environment failed: json: unsupported type: func()"`) {
		t.Errorf("of no JSON: %s", got)
	}
	if ss.write(func() {}); len(w.all()) == 0 {
		t.Error("what is no JSON is a message")
	}
}

// A resumed connection may have as many bytes pending as the one before it.
func TestPendingBytesAfterAResume(t *testing.T) {
	faked(t, Options{}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		token := p.hello("")["resume_token"]
		p.say(`{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":4096}`)
		// A reply: 24 bytes of header; 4 numbers and a reward a row, 4 bytes each; two flags of a byte.
		const want = 2 * inFlight * (24 + 4096*(5*4+2))
		if m := p.want("made"); m["pending_bytes"] != float64(want) || m["in_flight"] != 64.0 {
			t.Errorf("%v bytes, want %d; %v in flight", m["pending_bytes"], want, m["in_flight"])
		}
		for range 2 {
			for _, ss := range s.sessions {
				if ss.conn.pending != want {
					t.Errorf("%d bytes may wait, want %d", ss.conn.pending, want)
				}
			}
			_ = p.net.Close()
			synctest.Wait()
			p = pipe(t, s, false)
			p.resume(token, 1)
			p.want("resumed")
			synctest.Wait()
		}
		_ = p.net.Close()
	})
}

// Whether a session waits to be resumed depends on how its connection ended
// (PROTOCOL.md, resume).
func TestWhichSessionsWait(t *testing.T) {
	for name, c := range map[string]struct {
		say   string
		waits bool
		code  int // that is answered
	}{
		"a cut": {"", true, 0}, "close 1000": {closing(1000, "bye"), false, 1000}, "close 1001": {closing(1001, ""), false, 1001}, "close without a code": {frame(fin|opClose, ""), false, 1000},
		"close 1002": {closing(1002, ""), true, 1002}, "close 3000": {closing(3000, ""), true, 3000}, "close 4000": {closing(4000, ""), true, 4000},
		"close of one byte": {frame(fin|opClose, "x"), true, 1002}, "reserved bits": {"\xc1\x80aaaa", false, 1002}, "no UTF-8": {frame(fin|opText, "\xff"), false, 1007},
		"too long": {"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01aaaa", false, 1009}, "half a frame": {"\x82", true, 0},
	} {
		faked(t, Options{}, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.start()
			if c.say != "" {
				if _, err := io.WriteString(p.net, c.say); err != nil {
					t.Fatal(err)
				}
			}
			if c.code == 0 {
				_ = p.net.Close()
			} else {
				p.wantClose(c.code)
				_ = p.net.Close()
			}
			synctest.Wait()
			if want := map[bool][2]int{true: {0, 1}, false: {0, 0}}[c.waits]; s.count() != want {
				t.Errorf("%s: sessions with and without a client %v, want %v", name, s.count(), want)
			}
		})
	}
}

// A client that closes its writing side still gets its replies; then the server closes
// the connection.
func TestHalfClosed(t *testing.T) {
	_, url := serve(t, Options{})
	p := dialPeer(t, url)
	p.start()
	p.say(`{"type":"state","id":3,"ack":2,"env":1}`)
	if err := p.net.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.want("state_result")
	if err := p.net.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.in.next(); err != io.EOF {
		t.Errorf("then %v", err)
	}
}

// A client that resumes a session just as it ends is given the reason.
func TestComesTooLate(t *testing.T) {
	for _, draining := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := NewServer(Options{Open: open})
			ss := lone(s, &wire{})
			ss.draining.Store(draining)
			client, server := net.Pipe()
			id := uint64(5)
			ss.attach <- attachment{newConn(server, false, 1, time.Second), control{ID: &id}}
			p := &peer{t, newConn(client, true, maxReply, time.Minute)}
			go ss.over(errors.New("test"))
			want, code := "session_lost", closeLost
			if draining {
				want, code = "draining", closeGoingAway
			}
			if m := p.want(want); m["id"] != 5.0 || m["fatal"] != true || (m["retry_ms"] == 1000.0) != draining {
				t.Errorf("%v", m)
			}
			p.wantClose(code)
			_ = p.net.Close()
			synctest.Wait()
			if s.count() != [2]int{} {
				t.Errorf("sessions %v", s.count())
			}
		})
	}
}

// A panic in the server's own code ends only its session, with close code 4504. A panic
// in apart's goroutine is raised again in the one that waits for it.
func TestOurPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := NewServer(Options{Open: open, Log: textLog(&log)})
		client, server := net.Pipe()
		ss := lone(s, server)
		done := make(chan bool)
		go func() { done <- ss.run(func() error { panic("seeded fault") }) }()
		p := &peer{t, newConn(client, true, maxReply, time.Minute)}
		p.wantClose(closeInternal)
		_ = p.net.Close()
		if !<-done || s.count() != [2]int{} || !strings.Contains(log.String(), "seeded fault") || !strings.Contains(log.String(), "answers_test.go") {
			t.Errorf("sessions %v, log %s", s.count(), &log)
		}
	})
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "seeded fault\n") || !strings.Contains(fmt.Sprint(p), "answers_test.go") {
			t.Errorf("%v", p)
		}
	}()
	_ = apart(func() error { panic("seeded fault") })
}

// When Shutdown's context ends, it cuts the connections that are left: of a step that
// still runs, and of a client that does not read.
func TestShutdownCuts(t *testing.T) {
	for name, busy := range map[string]func(p *peer){
		"a step":          func(p *peer) { p.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`) },
		"an unread reply": func(p *peer) { p.say(`{"type":"state","id":3,"ack":2,"env":1}`) },
	} {
		v := &slow{takes: time.Hour}
		o := Options{StepTimeout: -1, WriteTimeout: time.Minute, Open: openSlow(v)}
		synctest.Test(t, func(t *testing.T) {
			s := NewServer(o)
			p := pipe(t, s, false)
			p.start()
			busy(p)
			time.Sleep(time.Second)
			began := time.Now()
			ctx, cancel := context.WithTimeout(background, 3*time.Second)
			defer cancel()
			err := s.Shutdown(ctx)
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTimeout) || took < 3*time.Second || took > 3*time.Second+tick {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			if _, err := p.net.Write([]byte{0}); err == nil {
				t.Errorf("%s: the connection is open", name)
			}
			_ = p.net.Close()
			synctest.Wait()
		})
	}
}
