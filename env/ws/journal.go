package ws

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/planegym/planegym/env"
)

// journal keeps a session on disk: its state now and then, and every request
// since, each with a checksum of its reply. A request is in the file before its
// reply leaves, so a server that is killed and started again comes to where
// the client saw it by executing the requests once more; a reply that differs
// then loses the session rather than going on differently.
//
// It survives the death of the process. That of the machine it may not, since
// nothing is synced: what was lost then is noticed by its numbers.
//
// The file is records of a u32 length, a u32 CRC-32C and that many bytes: a
// journalHead in JSON, then for each request u8 opcode, u32 CRC-32C of the
// reply, the request.
type journal struct {
	path  string
	file  *os.File
	buf   []byte // the record of the request under way
	steps int    // since the head
	size  int    // bytes of the file
}

const (
	journalEvery = 4096     // steps between two heads
	journalMax   = 64 << 20 // bytes, likewise
	recordHead   = 8
	journalName  = ".journal"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journalHead is a session after its request Next-1.
type journalHead struct {
	Version int    `json:"version"`
	Session string `json:"session"`
	Next    uint64 `json:"next"`
	Acked   uint64 `json:"acked"`
	LastEnv uint32 `json:"last_env"`

	Who string `json:"who,omitempty"` // identity of the client, in hexadecimal; "": of anybody

	FinalInfo    bool `json:"final_info,omitempty"`    // what the client announced
	ResetOptions bool `json:"reset_options,omitempty"` // likewise

	Envs    []journalEnv   `json:"envs"`
	Replies []journalReply `json:"replies"`
}

type journalEnv struct {
	ID       uint32          `json:"id"`
	Make     json.RawMessage `json:"make"`
	Made     uint32          `json:"made_crc"` // of the spec, which must be the same again
	Skip     bool            `json:"skip"`
	LastSeq  uint64          `json:"last_seq"`
	Episodes []episode       `json:"episodes"`
	States   [][]byte        `json:"states"`
}

type journalReply struct {
	Seq  uint64 `json:"seq"`
	Op   byte   `json:"op"`
	Body []byte `json:"body"`
}

func (s *Server) journalPath(k secret) string {
	return filepath.Join(s.opts.Journal, hex.EncodeToString(k[:])+journalName)
}

func (s *Server) hasJournal(k secret) bool {
	if s.opts.Journal == "" {
		return false
	}
	_, err := os.Stat(s.journalPath(k))
	return err == nil
}

// sweepJournals removes, once their clients have had time to come back, the
// journals that an earlier server left.
func (s *Server) sweepJournals() {
	if s.opts.Journal == "" {
		return
	}
	started := time.Now()
	if files, err := os.ReadDir(s.opts.Journal); err == nil {
		for _, f := range files {
			s.removeTemporary(f, started.Add(-time.Minute)) // a server that is being relieved may be writing
		}
	}
	s.sweep = time.AfterFunc(s.opts.ResumeFor, func() {
		files, err := os.ReadDir(s.opts.Journal)
		if err != nil {
			s.opts.Log.Error("journals not swept", "error", err)
			return
		}
		for _, f := range files {
			s.removeTemporary(f, started)
			k, err := hex.DecodeString(strings.TrimSuffix(f.Name(), journalName))
			if err != nil || len(k) != len(secret{}) {
				continue
			}
			s.mu.Lock()
			_, used := s.sessions[secret(k)]
			if info, err := f.Info(); !used && !s.draining && err == nil && info.ModTime().Before(started) {
				_ = os.Remove(filepath.Join(s.opts.Journal, f.Name()))
			}
			s.mu.Unlock()
		}
	})
}

// temporaryJournal is what the name of a journal begins with while it is written.
const temporaryJournal = ".journal."

// removeTemporary removes a journal that was being written before the given time,
// and that its server, since killed, did not finish.
func (s *Server) removeTemporary(f os.DirEntry, before time.Time) {
	if !strings.HasPrefix(f.Name(), temporaryJournal) {
		return
	}
	if info, err := f.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
		_ = os.Remove(filepath.Join(s.opts.Journal, f.Name()))
	}
}

// openJournal begins the session's journal, or gives nil.
func (s *session) openJournal() *journal {
	if s.srv.opts.Journal == "" {
		return nil
	}
	j := &journal{path: s.srv.journalPath(s.secret)}
	if err := j.rewrite(s); err != nil {
		s.journalFailed(err)
		return nil
	}
	return j
}

// journalFailed counts a journal that is given up, and logs the first:
// the session goes on without.
func (s *session) journalFailed(err error) {
	if s.srv.stats.journalErrors.Add(1) == 1 {
		s.log.Error("journal not written; sessions go on without, and end with this server", "error", err)
	}
}

// drop gives the journal up: s cannot be restored from here on.
func (j *journal) drop(s *session, err error) {
	if j == nil || j.file == nil {
		return
	}
	j.end(false)
	s.log.Info("session is no longer in the journal", "reason", err)
}

// end closes the journal, and removes it unless it is to be kept.
func (j *journal) end(keep bool) {
	if j == nil || j.file == nil {
		return
	}
	_ = j.file.Close()
	if !keep {
		_ = os.Remove(j.path)
	}
	j.file, j.buf = nil, nil
}

// begin starts the record of a request that is about to be executed.
func (j *journal) begin(m message) {
	if j == nil || j.file == nil {
		return
	}
	j.buf = append(j.buf[:0], make([]byte, recordHead)...)
	j.buf = append(j.buf, m.op, 0, 0, 0, 0)
	j.buf = append(j.buf, m.buf...)
}

// commit writes the record, with its reply's checksum, before the reply is sent.
func (j *journal) commit(s *session, reply []byte) {
	if j == nil || j.file == nil {
		return
	}
	le.PutUint32(j.buf[recordHead+1:], crc32.Checksum(reply, castagnoli))
	seal(j.buf)
	j.steps += max(1, s.req.Steps)
	j.size += len(j.buf)
	var err error
	if j.steps >= journalEvery || j.size >= journalMax {
		err = j.rewrite(s)
	} else {
		_, err = j.file.Write(j.buf)
	}
	switch {
	case err == nil:
	case errors.Is(err, env.ErrBadSnapshot):
		j.drop(s, err)
	default:
		s.journalFailed(err)
		j.end(false)
	}
}

// seal fills in the head of a record.
func seal(record []byte) {
	le.PutUint32(record, uint32(len(record)-recordHead))
	le.PutUint32(record[4:], crc32.Checksum(record[recordHead:], castagnoli))
}

// rewrite begins the file anew with the session as it is.
func (j *journal) rewrite(s *session) error {
	head, err := s.head()
	if err != nil {
		return err
	}
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	record := append(make([]byte, recordHead), text...)
	seal(record)
	f, err := os.CreateTemp(filepath.Dir(j.path), temporaryJournal+"*") // mode 0600: it holds what a client may ask
	if err != nil {
		return err
	}
	if _, err = f.Write(record); err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return err
	}
	_ = j.file.Close() // of before, if there is one
	j.file, j.steps, j.size = f, 0, len(record)
	return nil
}

// head is the session as it is.
func (s *session) head() (*journalHead, error) {
	h := &journalHead{Version: 1, Session: s.id, Next: s.next, Acked: s.acked, LastEnv: s.lastEnv, Who: s.who.String(), FinalInfo: s.finalInfo, ResetOptions: s.resetOptions}
	for _, e := range s.envs {
		out := journalEnv{ID: e.id, Make: e.made, Made: specSum(e.spec), Skip: e.skip, LastSeq: e.lastSeq, Episodes: e.episodes}
		snap, ok := e.Vector.(env.Snapshotter)
		if !ok || e.spec.RealTime {
			return nil, fmt.Errorf("environment %d: %w: it takes none", e.id, env.ErrBadSnapshot)
		}
		for row := range e.num {
			b, err := snap.Snapshot(row, nil)
			if err != nil {
				return nil, fmt.Errorf("environment %d: %w: %w", e.id, env.ErrBadSnapshot, err)
			}
			out.States = append(out.States, b)
		}
		h.Envs = append(h.Envs, out)
	}
	slices.SortFunc(h.Envs, func(a, b journalEnv) int { return int(a.ID) - int(b.ID) })
	for _, r := range s.replies {
		if r.seq != 0 {
			h.Replies = append(h.Replies, journalReply{r.seq, r.op, r.buf})
		}
	}
	return h, nil
}

// specSum is a checksum of what an environment is.
func specSum(spec env.Spec) uint32 {
	var m made
	m.describe(spec)
	b, _ := encode(&m)
	return crc32.Checksum(b, castagnoli)
}

// maxRecord bounds a record that a damaged file announces.
const maxRecord = 1 << 30

// readRecord reads a record; io.EOF and io.ErrUnexpectedEOF are the end of
// what was written.
func readRecord(r io.Reader) ([]byte, error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := le.Uint32(head[:])
	if n > maxRecord {
		return nil, fmt.Errorf("ws: journal: a record of %d bytes", n)
	}
	var b bytes.Buffer // grows with what is there, not with what is announced
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if sum := crc32.Checksum(b.Bytes(), castagnoli); sum != le.Uint32(head[4:]) {
		return nil, fmt.Errorf("ws: journal: checksum %08x, want %08x", sum, le.Uint32(head[4:]))
	}
	return b.Bytes(), nil
}

// restore makes of a new session the one of its journal.
func (s *session) restore() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
	}()
	path := s.srv.journalPath(s.secret)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s.replay = true
	defer func() { s.replay = false }()
	text, err := readRecord(f)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	var h journalHead
	if err := json.Unmarshal(text, &h); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := s.restoreHead(&h); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	steps := 0
	for {
		b, err := readRecord(f)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break // a torn record was not answered
		}
		if err == nil && len(b) < 5 {
			err = fmt.Errorf("ws: journal: a record of %d bytes", len(b))
		}
		if err != nil {
			return err
		}
		steps++
		seq := s.next
		if err := s.again(message{b[0], b[5:], s.replied.Load()}); err != nil {
			return fmt.Errorf("journal: request %d: %w", seq, err)
		}
		r := &s.replies[seq%inFlight]
		if s.next != seq+1 || r.seq != seq {
			return fmt.Errorf("journal: request %d was not answered again", seq)
		}
		if sum := crc32.Checksum(r.buf, castagnoli); sum != le.Uint32(b[1:]) {
			return fmt.Errorf("journal: the reply to request %d is not what it was", seq)
		}
	}
	s.log.Info("session restored", "was", h.Session, "requests", steps, "next", s.next)
	s.journal = s.openJournal()
	return nil
}

// again executes a request of the journal.
func (s *session) again(m message) error {
	if m.op == opText {
		return s.text(m)
	}
	return s.binary(m)
}

// restoreHead makes the session what h says.
func (s *session) restoreHead(h *journalHead) error {
	if h.Who != s.who.String() {
		return errNotYours
	}
	if h.Version != 1 {
		return fmt.Errorf("version %d, want 1", h.Version)
	}
	s.finalInfo, s.resetOptions = h.FinalInfo, h.ResetOptions
	for _, je := range h.Envs {
		c, err := parseControl(je.Make)
		if err != nil {
			return err
		}
		s.lastEnv = je.ID - 1
		if _, err := s.make(&c, *c.ID, je.Make); err != nil {
			return err
		}
		e := s.envs[je.ID]
		snap, ok := e.Vector.(env.Snapshotter)
		if !ok || specSum(e.spec) != je.Made || len(je.States) != e.num || len(je.Episodes) != e.num {
			return fmt.Errorf("environment %d is not what it was", je.ID)
		}
		for row, b := range je.States {
			if err := snap.Restore(row, b); err != nil {
				return err
			}
		}
		e.skip, e.lastSeq, e.episodes = je.Skip, je.LastSeq, je.Episodes
	}
	s.next, s.acked, s.lastEnv = h.Next, h.Acked, h.LastEnv
	if s.next > 0 {
		s.replied.Store(s.next - 1)
	}
	for _, r := range h.Replies {
		s.replies[r.Seq%inFlight] = reply{r.Seq, r.Op, r.Body}
	}
	return nil
}
