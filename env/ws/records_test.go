package ws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
)

// records are the records of a journal: its head, then requests.
func records(t *testing.T, dir string) (path string, all [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+journalName))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for r := bytes.NewReader(b); ; {
		one, err := readRecord(r)
		if err == io.EOF {
			return files[0], all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// only is the one session of s.
func only(t *testing.T, s *Server) *session {
	t.Helper()
	synctest.Wait()
	if len(s.sessions) != 1 {
		t.Fatalf("%d sessions", len(s.sessions))
	}
	for _, ss := range s.sessions {
		return ss
	}
	return nil
}

// A restored session has its environments with their states, episodes and errors, its
// request numbers, the replies it kept, and its client's capabilities.
func TestRestoredSessionIsWhatItWas(t *testing.T) {
	dir := t.TempDir()
	faked(t, Options{Journal: dir}, func(t *testing.T, s *Server) {
		p := pipe(t, s, false)
		token := p.hello(`"final_info","reset_options"`)["resume_token"]
		id := 0
		ask := func(want, keys string, ack int) {
			t.Helper()
			id++
			p.say(`{"id":%d,"ack":%d,%s}`, id, ack, keys)
			p.want(want)
		}
		ask("made", `"type":"make","scenario":"cartpole","num_envs":2,"autoreset":"same_step"`, 0)
		ask("made", `"type":"make","scenario":"cartpole","num_envs":1`, 1)
		ask("made", `"type":"make","scenario":"cartpole","num_envs":1`, 2)
		ask("closed", `"type":"close","env":3`, 2)
		ask("reset_result", `"type":"reset","env":1,"seed":"1"`, 3)
		ask("reset_result", `"type":"reset","env":2,"seed":"2"`, 3)
		for range 5 {
			ask("step_result", `"type":"step","env":1,"rows":[1],"actions":[1]`, 4)
		}
		p.ask(request{header: header{Type: typeStep, Env: 2, N: 1, Seq: 12}, Ack: 5, Actions: []int32{7}})
		p.want("invalid_action")
		was, err := only(t, s).head()
		if err != nil {
			t.Fatal(err)
		}
		if was.Next != 13 || was.Acked != 5 || was.LastEnv != 3 || len(was.Envs) != 2 || !was.Envs[1].Skip || was.Envs[1].LastSeq != 12 || was.Envs[0].Episodes[1].Steps != 5 || len(was.Replies) != 7 || !was.FinalInfo || !was.ResetOptions || was.Envs[0].ID != 1 {
			t.Fatalf("the test shows nothing: %+v", was)
		}
		_, all := records(t, dir)
		if len(all) != 13 {
			t.Errorf("%d records of a head and 12 requests", len(all))
		}
		left := t.TempDir()
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		second := NewServer(Options{Open: open, Journal: left})
		q := pipe(t, second, false)
		q.resume(token, 10)
		if m := q.want("resumed"); m["accepted"] != 12.0 {
			t.Errorf("%v", m)
		}
		q.want("step_result")
		q.want("invalid_action")
		ss := only(t, second)
		is, err := ss.head()
		if err != nil {
			t.Fatal(err)
		}
		if is.Session == was.Session || ss.replied.Load() != 12 || ss.replay {
			t.Errorf("session %s, which was %s; replied %d", is.Session, was.Session, ss.replied.Load())
		}
		is.Session = was.Session
		if have, want := asJSON(is), asJSON(was); have != want {
			t.Errorf("%s\nwas\n%s", have, want)
		}
		_, all = records(t, left) // the journal begins anew
		var head journalHead
		if err := json.Unmarshal(all[0], &head); err != nil || len(all) != 1 {
			t.Fatal(err, len(all))
		}
		head.Session = was.Session
		if have, want := asJSON(&head), asJSON(was); have != want {
			t.Errorf("the journal has %s\nwant\n%s", have, want)
		}
		if n := second.stats.episodes.Load() + second.stats.rows.Load(); n != 5 { // executed again
			t.Errorf("%d steps", n)
		}
		_ = q.net.Close()
		if err := second.Shutdown(background); err != nil {
			t.Error(err)
		}
		_ = p.net.Close()
	})
}

func asJSON(h *journalHead) string { b, _ := json.Marshal(h); return string(b) }

// opened are the files of dir that this process has open.
func opened(t *testing.T, dir string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no list of open files: ", err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

// The journal is rewritten after journalEvery steps or journalMax bytes, no earlier,
// and the old file is closed. It is removed with its session, unless the server drains.
func TestJournalBeginsAnew(t *testing.T) {
	for name, set := range map[string]func(j *journal){
		"steps": func(j *journal) { j.steps = journalEvery - 2 },
		"bytes": func(j *journal) {
			j.size = journalMax - 2*(recordHead+5+len(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`))
		},
	} {
		for _, drains := range []bool{false, true} {
			dir := t.TempDir()
			faked(t, Options{Journal: dir}, func(t *testing.T, s *Server) {
				p := pipe(t, s, false)
				p.start()
				p.ask(request{header: header{Type: typeStepMany, Env: 1, N: 1, Seq: 3}, Ack: 2, Steps: 50, Actions: make([]int32, 50)})
				for op := byte(0); op != opBinary; {
					op, _ = p.next()
				}
				j := only(t, s).journal
				if j.steps != 52 { // of text requests one each
					t.Errorf("%d steps", j.steps)
				}
				whole, _ := os.ReadFile(j.path)
				if j.size != len(whole) {
					t.Errorf("%d bytes are counted, the file has %d", j.size, len(whole))
				}
				set(j)
				for i, want := range []int{5, 1, 2} {
					p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1]}`, 4+i, 3+i)
					p.ends("step_result")
					synctest.Wait()
					if _, all := records(t, dir); len(all) != want {
						t.Errorf("%s: %d records after step %d, want %d", name, len(all), i+1, want)
					}
					if n := opened(t, dir); n != 1 {
						t.Errorf("%s: %d files are open after step %d", name, n, i+1)
					}
				}
				if j.steps != 1 {
					t.Errorf("%s: %d steps after it began anew", name, j.steps)
				}
				if drains {
					go func() { _ = s.Shutdown(background) }()
					p.want("draining")
					p.wantClose(closeGoingAway)
				} else {
					p.say(`{"type":"close","id":7,"ack":6}`)
					p.want("closed")
					p.wantClose(closeNormal)
				}
				_ = p.net.Close()
				synctest.Wait()
				files, _ := os.ReadDir(dir)
				if len(files) != map[bool]int{true: 1}[drains] || opened(t, dir) != 0 {
					t.Errorf("%s: %d files are left, %d open", name, len(files), opened(t, dir))
				}
			})
		}
	}
}

// If the journal cannot be written, the session goes on and no file is left open.
func TestJournalThatCannotBeWritten(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"no folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"a folder of its name": func(path string) error {
			return errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700))
		},
	} {
		dir := t.TempDir()
		var log bytes.Buffer
		faked(t, Options{Journal: dir, Log: textLog(&log)}, func(t *testing.T, s *Server) {
			p := pipe(t, s, false)
			p.start()
			j := only(t, s).journal
			j.steps = journalEvery
			path := j.path
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			for id := 3; id < 6; id++ {
				p.say(`{"type":"step","id":%d,"ack":%d,"env":1,"actions":[1]}`, id, id-1)
				p.want("step_result")
			}
			left, _ := filepath.Glob(filepath.Join(dir, temporaryJournal+"*"))
			if n := strings.Count(log.String(), "journal not written"); n != 1 || s.stats.journalErrors.Load() != 1 || len(left) != 0 || opened(t, dir) != 0 {
				t.Errorf("%s: %d lines, %d counted, %v left, %d open", name, n, s.stats.journalErrors.Load(), left, opened(t, dir))
			}
			q := pipe(t, s, false) // another session
			q.start()
			if want := map[bool]uint64{true: 2, false: 1}[name == "no folder"]; s.stats.journalErrors.Load() != want || strings.Count(log.String(), "journal not written") != 1 {
				t.Errorf("%s: %d sessions have none", name, s.stats.journalErrors.Load())
			}
			_, _ = p.net.Close(), q.net.Close()
		})
	}
}

// Restoring from a journal that does not fit its session fails with an error that says
// why; a torn last record is no error.
func TestJournalsThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	who := identity{1}
	faked(t, Options{Journal: dir}, func(t *testing.T, s *Server) {
		p := pipeAs(t, s, who, false)
		p.start()
		p.say(`{"type":"step","id":3,"ack":2,"env":1,"actions":[1]}`)
		p.want("step_result")
		_, all := records(t, dir)
		_ = p.net.Close()
		// A head after the three requests, so that it has a state, then a step.
		ss := only(t, s)
		whole, err := ss.head()
		if err != nil {
			t.Fatal(err)
		}
		head := func(change func(h *journalHead)) []byte {
			var h journalHead
			if err := json.Unmarshal([]byte(asJSON(whole)), &h); err != nil {
				t.Fatal(err)
			}
			change(&h)
			return []byte(asJSON(&h))
		}
		same := head(func(*journalHead) {})
		says := func(text string, crc byte) []byte { return append([]byte{opText, crc, 0, 0, 0}, text...) }
		none := func(h *journalHead) { h.Envs = nil }
		for name, c := range map[string]struct {
			file [][]byte // records
			tail string   // after them
			o    Options
			want string // "": restored
		}{
			"as it was":              {file: [][]byte{same}},
			"from the first":         {file: all},
			"a torn head":            {tail: "\x09\x00\x00", want: "journal: unexpected EOF"},
			"nothing":                {want: "journal: EOF"},
			"a torn record":          {file: [][]byte{same}, tail: "\x09\x00\x00\x00\x01\x02\x03\x04\x05"},
			"a torn length":          {file: [][]byte{same}, tail: "\x09"},
			"the longest record":     {file: [][]byte{same}, tail: "\x00\x00\x00\x40aaaa"},
			"a longer record":        {file: [][]byte{same}, tail: "\x01\x00\x00\x40aaaa", want: "ws: journal: a record of 1073741825 bytes"},
			"another checksum":       {file: [][]byte{same}, tail: "\x01\x00\x00\x00\x00\x00\x00\x00a", want: "ws: journal: checksum c1d04330, want 00000000"},
			"no JSON":                {file: [][]byte{[]byte("head")}, want: "journal: invalid character"},
			"another version":        {file: [][]byte{head(func(h *journalHead) { h.Version = 2 })}, want: "journal: version 2, want 1"},
			"another client's":       {file: [][]byte{head(func(h *journalHead) { h.Who = "" })}, want: "unauthorized: the session belongs to another token"},
			"no request":             {file: [][]byte{head(func(h *journalHead) { h.Envs[0].Make = json.RawMessage("7") })}, want: `"7" is not an object`},
			"no scenario":            {file: [][]byte{head(func(h *journalHead) { h.Envs[0].Make = json.RawMessage(`{"id":1}`) })}, want: "scenario is missing"},
			"another spec":           {file: [][]byte{head(func(h *journalHead) { h.Envs[0].Made++ })}, want: "journal: environment 1 is not what it was"},
			"another vector":         {file: [][]byte{same}, o: Options{Open: func(_ context.Context, m MakeRequest) (env.Vector, error) { return cartpole.New(1, env.Disabled) }}, want: "journal: environment 1 is not what it was"},
			"a state less":           {file: [][]byte{head(func(h *journalHead) { h.Envs[0].States = nil })}, want: "journal: environment 1 is not what it was"},
			"an episode more":        {file: [][]byte{head(func(h *journalHead) { h.Envs[0].Episodes = make([]episode, 2) })}, want: "journal: environment 1 is not what it was"},
			"another state":          {file: [][]byte{head(func(h *journalHead) { h.Envs[0].States[0] = []byte("x") })}, want: "journal: row 0: snapshot does not fit this environment"},
			"no snapshots":           {file: [][]byte{same}, o: openScript(&script{ends: []int{9}}), want: "journal: environment 1 is not what it was"},
			"a panic":                {file: [][]byte{same}, o: openScript(&script{panics: "spec"}), want: "internal"},
			"a short record":         {file: [][]byte{same, {1, 0, 0, 0}}, want: "ws: journal: a record of 4 bytes"},
			"an empty request":       {file: [][]byte{same, {1, 0, 0, 0, 0}}, want: "journal: request 4 was not answered again"},
			"no numbered request":    {file: [][]byte{same, says(`{"type":"ping","id":4}`, 0)}, want: "journal: request 4 was not answered again"},
			"a request out of turn":  {file: [][]byte{same, says(`{"type":"state","id":6,"env":1}`, 0)}, want: "journal: request 4: bad_frame"},
			"an older request":       {file: [][]byte{same, says(`{"type":"state","id":3,"env":1}`, 0)}, want: "journal: request 4 was not answered again"},
			"another reply":          {file: [][]byte{same, says(`{"type":"state","id":4,"env":1}`, 0)}, want: "journal: the reply to request 4 is not what it was"},
			"a session of nothing":   {file: [][]byte{head(none)}},
			"a session at its start": {file: [][]byte{head(func(h *journalHead) { none(h); h.Next, h.Replies = 0, nil })}},
		} {
			o := c.o
			if o.Open == nil {
				o.Open = open
			}
			o.Journal = t.TempDir()
			second := NewServer(o)
			var k secret
			var file []byte
			for _, r := range c.file {
				r = append(make([]byte, recordHead), r...)
				seal(r)
				file = append(file, r...)
			}
			if err := os.WriteFile(second.journalPath(k), append(file, c.tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			second.opts.Log = textLog(&log)
			restored := second.newSession(newConn(&wire{}, false, 1, time.Second), k, who)
			err := restored.restore()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
			if err == nil {
				n := max(len(c.file)-1, 0)
				if !strings.Contains(log.String(), `msg="session restored"`) || !strings.Contains(log.String(), fmt.Sprintf("requests=%d", n)) {
					t.Errorf("%s: log %s", name, &log)
				}
				if next := restored.next; restored.replied.Load() != max(next, 1)-1 || restored.journal == nil {
					t.Errorf("%s: next %d, replied %d", name, next, restored.replied.Load())
				}
			}
			if restored.replay {
				t.Errorf("%s: it replays on", name)
			}
			restored.over(errors.New("test"))
			if n := opened(t, o.Journal); n != 0 {
				t.Errorf("%s: %d files are open", name, n)
			}
			if err := second.Shutdown(background); err != nil {
				t.Error(err)
			}
		}
		// The head has the replies as the client got them.
		if !slices.ContainsFunc(whole.Replies, func(r journalReply) bool { return r.Seq == 3 && bytes.Contains(r.Body, []byte("step_result")) }) {
			t.Errorf("%v", whole.Replies)
		}
	})
}

// Journals of an earlier server are removed when their clients' time is over; those of
// open sessions, newer ones and other files stay.
func TestSweep(t *testing.T) {
	for _, drains := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			name := func(b byte) string { return hex.EncodeToString(bytes.Repeat([]byte{b}, sha256.Size)) + journalName }
			files := map[string]time.Duration{ // after the start
				name(1): -time.Hour, name(2): time.Second, name(3): -time.Hour, name(4): -1, name(5): 0, "abcd" + journalName: -time.Hour, "x" + name(1)[1:]: -time.Hour, "notes": -time.Hour,
				hex.EncodeToString(make([]byte, 33)) + journalName: -time.Hour,
			}
			for f, age := range files {
				path := filepath.Join(dir, f)
				if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, time.Time{}, time.Now().Add(age))); err != nil {
					t.Fatal(err)
				}
			}
			s := NewServer(Options{Open: open, Journal: dir, ResumeFor: time.Minute})
			s.mu.Lock()
			ss := s.newSession(newConn(&wire{}, false, 1, time.Second), secret(bytes.Repeat([]byte{3}, sha256.Size)), identity{})
			s.draining = drains
			s.mu.Unlock()
			left := func() string {
				var all []string
				list, _ := os.ReadDir(dir)
				for _, f := range list {
					all = append(all, f.Name()[:2])
				}
				return fmt.Sprint(all)
			}
			time.Sleep(time.Minute - 1)
			synctest.Wait()
			all := left()
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			want := strings.NewReplacer(" 01", "", " 04", "").Replace(all)
			if drains {
				want = all
			}
			if got := left(); got != want || len(strings.Fields(all)) != len(files) {
				t.Errorf("draining %v: %s, want %s of %s", drains, got, want, all)
			}
			ss.over(errors.New("test"))
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := NewServer(Options{Open: open, Journal: filepath.Join(t.TempDir(), "none"), Log: textLog(&log)})
		time.Sleep(time.Hour)
		synctest.Wait()
		if !strings.Contains(log.String(), `level=ERROR msg="journals not swept"`) {
			t.Errorf("log %s", &log)
		}
		_ = s.Shutdown(background)
	})
	synctest.Test(t, func(t *testing.T) { // who does not wait for clients keeps no journal
		dir := t.TempDir()
		s := NewServer(Options{Open: open, Journal: dir, ResumeFor: -1})
		p := pipe(t, s, false)
		p.start()
		if files, _ := os.ReadDir(dir); len(files) != 0 || s.sweep != nil || s.hasJournal(secret{}) {
			t.Errorf("%d files", len(files))
		}
		_ = p.net.Close()
		_ = s.Shutdown(background)
	})
}
