package ws

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
)

// seeds adds the fixtures to a corpus.
func seeds(f *testing.F, pattern string) {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		f.Fatal(pattern, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if filepath.Base(file) == "text.golden" {
			for line := range bytes.Lines(b) {
				f.Add(bytes.TrimSpace(line))
			}
			continue
		}
		f.Add(b)
	}
}

// chunks reads b a few bytes at a time, with timeouts between them.
type chunks struct {
	b    []byte
	size int
	tick bool
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.tick = !c.tick; c.tick && c.size < 5 {
		return 0, os.ErrDeadlineExceeded
	}
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(c.size, len(p))], c.b)
	c.b = c.b[n:]
	return n, nil
}

// FuzzFrames: whatever comes, in whatever pieces, gives the same messages and
// the same end, and no more memory than was sent.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame(fin|opText, "{}")))
	f.Add([]byte(frame(opText, "ab") + frame(fin|opPing, "x") + frame(fin|opContinue, "cd") + closing(1000, "bye")))
	f.Add([]byte(frame(fin|opBinary, string(make([]byte, 300)))))
	f.Add([]byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd"))
	f.Add([]byte("\xf1\x80abcd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var first []byte
		for _, size := range []int{1 << 20, 1, 3} {
			var all []byte
			r := frameReader{r: &chunks{b: b, size: size}, masked: true, limit: 1000}
			for {
				op, p, err := r.next()
				if isTimeout(err) {
					continue
				}
				if cap(r.buf) > 4*len(b)+firstBuffer*4 {
					t.Fatalf("%d bytes of buffer for %d sent", cap(r.buf), len(b))
				}
				if err != nil {
					var closed *CloseError
					if !errors.As(err, &closed) && err != io.EOF {
						t.Fatal(err)
					}
					all = append(all, err.Error()...)
					break
				}
				if len(p) > 1000 {
					t.Fatalf("a message of %d bytes", len(p))
				}
				all = append(append(all, op), p...)
			}
			if first == nil {
				first = all
			} else if !bytes.Equal(first, all) {
				t.Fatalf("in pieces of %d: %q, whole %q", size, all, first)
			}
		}
	})
}

// FuzzRequest: a request is refused or is the bytes that it decodes to, and
// takes no more memory than twice its length.
func FuzzRequest(f *testing.F) {
	seeds(f, "*.golden")
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		for _, s := range []int{1, 2} {
			r := request{header: h}
			if err := r.decode(b, 3, s); err != nil {
				continue
			}
			if got := r.append(nil); !bytes.Equal(got, b) {
				t.Fatalf("%q is read as %+v, which is %q", b, r, got)
			}
			if size := 8*cap(r.seeds) + 8*cap(r.rows) + 4*cap(r.Actions); size > 2*len(b) {
				t.Fatalf("%d bytes for a request of %d", size, len(b))
			}
		}
	})
}

// FuzzResult: likewise a result.
func FuzzResult(f *testing.F) {
	seeds(f, "*.golden")
	f.Fuzz(func(t *testing.T, b []byte) {
		var r result
		var out env.Batch
		if err := r.decode(b, goldenShape, &out); err != nil {
			return
		}
		size := 4*cap(out.Obs) + 4*cap(out.Reward) + cap(out.Terminated) + cap(out.Truncated) + 4*cap(out.FinalObs) + 4*cap(r.Info)
		if size > 2*len(b) {
			t.Fatalf("%d bytes for a result of %d", size, len(b))
		}
		if r.Flags&flagFinalObs == 0 {
			out.FinalObs = nil
		}
		if got := appendResult(nil, r.header, r.Steps, &out, r.Info, r.Final); len(got) != len(b) {
			// Flags that say nothing may be left out.
			var again result
			var b2 env.Batch
			if err := again.decode(got, goldenShape, &b2); err != nil || !slices.Equal(bytesOf(b2.Obs), bytesOf(out.Obs)) || !slices.Equal(b2.Terminated, out.Terminated) {
				t.Fatalf("%q is read as %+v %+v, which is %q: %v", b, r, out, got, err)
			}
		}
	})
}

// FuzzControl: a text request is refused with an error that has a code, or
// has an id, and takes no more memory than twice its length.
func FuzzControl(f *testing.F) {
	seeds(f, "text.golden")
	f.Add([]byte(`{"type":"step","id":1,"actions":[[1,2],3,[]]}`))
	f.Add([]byte(`{"id":18446744073709551616,"seed":"-1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseControl(b)
		switch {
		case err == nil && c.ID == nil:
			t.Fatal("no id")
		case err != nil && codeOf(err) == "env_error":
			t.Fatalf("%v has no code", err)
		}
		size := 4*cap(c.Rows) + 8*cap(c.Seeds) + len(c.States.text) + len(c.Kwargs) + len(c.Options) + len(c.Client) + len(c.Ticket) + len(c.Token)
		if c.Actions != nil {
			size += 4 * cap(c.Actions.flat)
		}
		if size > 2*len(b)+64 { // sizes of memory are rounded up
			t.Fatalf("%d bytes for a message of %d", size, len(b))
		}
	})
}

// FuzzMade: what a server says that it made is refused, or is a spec that
// says the same.
func FuzzMade(f *testing.F) {
	seeds(f, "text.golden")
	f.Fuzz(func(t *testing.T, b []byte) {
		var m made
		if json.Unmarshal(b, &m) != nil {
			return
		}
		spec, err := m.spec()
		if err != nil {
			return
		}
		var again made
		again.describe(spec)
		again.NumEnvs = m.NumEnvs
		back, err := again.spec()
		if err != nil || back.Observation.Dim() != spec.Observation.Dim() || len(back.Action) != len(spec.Action) {
			t.Fatalf("%+v is described as %+v: %v", spec, again, err)
		}
		if spec.Observation.Dim() > len(b) || len(spec.Action) > len(b) {
			t.Fatal("more than was said")
		}
	})
}

func FuzzClose(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3})
	f.Add(closePayload(1000, "bye"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := parseClose(b)
		if p := closePayload(c.Code, c.Text); len(p) > maxControl {
			t.Fatalf("%d bytes to answer %q", len(p), b)
		}
	})
}

// FuzzJournal: a journal is read to a session or refused; what was not
// written by us does not get past its checksum, so records are sealed here.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"version":1,"next":1}`), []byte("\x01\x00\x00\x00\x00{}"), true)
	f.Add([]byte(`{"version":1,"next":2,"last_env":1,"envs":[{"id":1,"make":{"type":"make","id":1,"scenario":"cartpole","num_envs":1},"states":[""]}]}`), []byte{}, true)
	f.Add([]byte(`{"version":2}`), []byte("half"), false)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, head, record []byte, whole bool) {
		s := NewServer(Options{Open: open})
		s.opts.Journal = dir
		var k secret
		var file []byte
		for _, b := range [][]byte{head, record} {
			sealed := append(make([]byte, recordHead), b...)
			if seal(sealed); !whole {
				sealed = b
			}
			file = append(file, sealed...)
		}
		if err := os.WriteFile(s.journalPath(k), file, 0o600); err != nil {
			t.Fatal(err)
		}
		a, b := net.Pipe()
		defer a.Close()
		s.mu.Lock()
		ss := s.newSession(newConn(b, false, maxRequest, time.Second), k, identity{})
		s.mu.Unlock()
		go func() { _, _ = io.Copy(io.Discard, a) }()
		_ = ss.restore()
		ss.over(errors.New("test"))
		b.Close()
	})
}

// FuzzSession says whatever to a session: it answers or closes, and the
// server is as good as before.
func FuzzSession(f *testing.F) {
	all := goldenText()
	for _, name := range []string{"make", "reset", "step", "state", "set_state", "close", "ping"} {
		for _, m := range all[name] {
			b, _ := encode(m)
			f.Add([]byte(frame(fin|opText, string(b))))
		}
	}
	step := request{header: header{Type: typeStep, Env: 1, N: 1, Seq: 2}, Ack: 1, Actions: []int32{1}}
	reset := request{header: header{Type: typeReset, Env: 1, N: 1, Seq: 2}, Ack: 1}
	step3 := step
	step3.Seq = 3
	f.Add([]byte(frame(fin|opBinary, string(reset.append(nil))) + frame(fin|opBinary, string(step3.append(nil)))))
	f.Add([]byte(frame(fin|opBinary, string(step.append(nil)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		faked(t, Options{ResumeFor: -1}, func(t *testing.T, s *Server) { // half a frame is waited for
			p := pipe(t, s, false)
			p.say(`{"type":"hello","id":0,"version":1,"capabilities":["episode_end"]}`)
			p.want("welcome")
			p.say(`{"type":"make","id":1,"ack":0,"scenario":"cartpole","num_envs":1}`)
			p.want("made")
			wrote := make(chan struct{})
			go func() {
				defer close(wrote)
				if len(b) > 0 {
					_, _ = p.net.Write(b)
				}
				_, _ = p.net.Write([]byte(closing(1000, "")))
			}()
			for {
				op, _, err := p.in.next()
				if err != nil || op == opClose {
					var own *CloseError
					if errors.As(err, &own) {
						t.Fatalf("the server breaks the protocol: %v", err)
					}
					break
				}
			}
			_ = p.net.Close()
			<-wrote
			synctest.Wait()
			if s.count() != [2]int{} {
				t.Errorf("sessions %v", s.count())
			}
		})
	})
}
