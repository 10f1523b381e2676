package ws

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/planegym/planegym/env"
	"github.com/planegym/planegym/env/cartpole"
	"github.com/planegym/planegym/internal/rng"
)

// TestJournal kills the server at random, starts another on what it left, and
// goes on. Killing is copying the journal and leaving the first one alone.
func TestJournal(t *testing.T) {
	const rows, kills = 3, 4
	local, _ := cartpole.New(rows, env.SameStep)
	dir := t.TempDir()
	s, url := serve(t, Options{Journal: dir})
	c := dial(t, url, DialOptions{NumEnvs: rows, Autoreset: env.SameStep})
	var got, want env.Batch
	seeds := []uint64{1, 2, 3}
	for _, v := range []env.Vector{c, local} {
		if err := v.Reset(background, nil, seeds, &got); err != nil {
			t.Fatal(err)
		}
	}
	k := 0
	for kill := range kills {
		n := rng.Key{Seed: 5, A: uint32(kill)}.Intn(1, 3000)
		for range n {
			a := []int32{int32(k % 2), int32(k / 2 % 2), int32(k / 3 % 2)}
			k++
			if err := c.Step(background, nil, a, &got); err != nil {
				t.Fatal(err)
			}
			if err := local.Step(background, nil, a, &want); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Obs, want.Obs) || !slices.Equal(got.Reward, want.Reward) || !slices.Equal(got.FinalObs, want.FinalObs) {
				t.Fatalf("step %d, after %d kills: differs", k, kill)
			}
		}
		left := t.TempDir()
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if files, _ := os.ReadDir(left); len(files) != 1 {
			t.Fatalf("%d files in the journal", len(files))
		}
		var next string
		s, next = serve(t, Options{Journal: left})
		dir, c.url = left, next
		_ = c.conn.net.Close()
	}
	if err := c.Step(background, nil, []int32{0, 0, 0}, &got); err != nil {
		t.Fatal(err)
	}
	if n := s.stats.restored.Load(); n != 1 {
		t.Errorf("the last server restored %d sessions", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for files := []os.DirEntry{nil}; len(files) > 0; files, _ = os.ReadDir(dir) { // removed as the session ends
		runtime.Gosched()
	}
}

// A server that was drained leaves its sessions to the next.
func TestJournalDrain(t *testing.T) {
	dir := t.TempDir()
	s, url := serve(t, Options{Journal: dir})
	c := dial(t, url, DialOptions{NumEnvs: 2})
	local, _ := cartpole.New(2, env.NextStep)
	var got, want env.Batch
	for _, v := range []env.Vector{c, local} {
		if err := v.Reset(background, nil, []uint64{1, 2}, &got); err != nil {
			t.Fatal(err)
		}
	}
	for k := range 60 {
		if k == 30 {
			if err := s.Shutdown(background); err != nil {
				t.Fatal(err)
			}
			_, c.url = serve(t, Options{Journal: dir})
		}
		a := []int32{int32(k % 2), int32(k / 2 % 2)}
		if err := c.Step(background, nil, a, &got); err != nil {
			t.Fatal(err)
		}
		if err := local.Step(background, nil, a, &want); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Obs, want.Obs) {
			t.Fatalf("step %d differs", k)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A journal that does not lead to where the client was loses the session.
func TestJournalDamaged(t *testing.T) {
	dir := t.TempDir()
	_, url := serve(t, Options{Journal: dir})
	c := dial(t, url, DialOptions{})
	var b env.Batch
	if err := c.Reset(background, nil, []uint64{3}, &b); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := c.Step(background, nil, []int32{1}, &b); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := os.ReadDir(dir)
	name := files[0].Name()
	whole, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		b := slices.Clone(whole)
		b[at] ^= 0x10
		return b
	}
	for what, damaged := range map[string][]byte{
		"empty": {}, "half": whole[:len(whole)/2], "one short": whole[:len(whole)-1],
		"flipped at 20": flip(20), "flipped near the end": flip(len(whole) - 9), "length": flip(2),
	} {
		left := t.TempDir()
		if err := os.WriteFile(filepath.Join(left, name), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, next := serve(t, Options{Journal: left, Log: slog.New(slog.DiscardHandler)})
		p := dialPeer(t, next)
		p.resume(c.token, int(c.got))
		if m, err := p.hear(); err != nil || m["code"] != "session_lost" {
			t.Errorf("%s: %v %v", what, m, err)
		}
	}
}

func dialPeer(t testing.TB, url string) *peer {
	nc, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), Path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return handshake(t, nc)
}

// A full disk costs the journal, not the session.
func TestJournalDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full: ", err)
	}
	var log bytes.Buffer
	var mu sync.Mutex
	s, url := serve(t, Options{Journal: t.TempDir(), Log: slog.New(slog.NewTextHandler(locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelError}))})
	c := dial(t, url, DialOptions{})
	var b env.Batch
	if err := c.Reset(background, nil, []uint64{3}, &b); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	for _, ss := range s.sessions { // which waits for a request, and reads this after it came
		ss.journal.file = full
	}
	s.mu.Unlock()
	for range 100 {
		if err := c.Step(background, nil, []int32{1}, &b); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "no space left") {
		t.Errorf("%d log lines: %s", n, &log)
	}
	if n := s.stats.journalErrors.Load(); n != 1 {
		t.Errorf("%d journal errors", n)
	}
}

// moody takes snapshots until it does not.
type moody struct {
	env.Vector
	refuse *atomic.Bool
}

func (m moody) Snapshot(row int, dst []byte) ([]byte, error) {
	if m.refuse.Load() {
		return dst, errors.New("not now")
	}
	return m.Vector.(env.Snapshotter).Snapshot(row, dst)
}
func (m moody) Restore(row int, src []byte) error {
	return m.Vector.(env.Snapshotter).Restore(row, src)
}

// An environment that takes no more snapshots costs the journal, not the session:
// the file goes, the log says why, and no failure of the disk is counted.
func TestJournalOfAnEnvironmentThatTakesNoMoreSnapshots(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	var mu sync.Mutex
	var refuse atomic.Bool
	s, url := serve(t, Options{
		Journal: dir, Log: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil)),
		Open: func(context.Context, MakeRequest) (env.Vector, error) {
			v, err := cartpole.New(1, env.NextStep)
			return moody{v, &refuse}, err
		},
	})
	c := dial(t, url, DialOptions{})
	var b env.Batch
	if err := c.Reset(background, nil, []uint64{3}, &b); err != nil {
		t.Fatal(err)
	}
	kept := func() int {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	if kept() != 1 {
		t.Fatalf("%d files of one session", kept())
	}
	refuse.Store(true)
	for range journalEvery + 2 {
		if err := c.Step(background, nil, []int32{1}, &b); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "no longer in the journal"); kept() != 0 || n != 1 || !strings.Contains(log.String(), "not now") {
		t.Errorf("%d files are left, and %d lines say so: %s", kept(), n, &log)
	}
	if n := s.stats.journalErrors.Load(); n != 0 {
		t.Errorf("%d journal errors", n)
	}
}
