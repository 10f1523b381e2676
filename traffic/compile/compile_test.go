package compile

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/flows"
	"github.com/planegym/planegym/traffic/store"
)

// compiled is a set's packets, as a file, and what became of its actions.
func compiled(t testing.TB, s *traffic.Set, o Options) ([]byte, *Report) {
	t.Helper()
	var b bytes.Buffer
	r, err := Write(context.Background(), &b, &s.Of, store.All(s), o)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), r
}

// sameActions is an error where b's sessions are not a's. Sessions without an
// action are not in b.
func sameActions(a, b *traffic.Set) error {
	sessions := slices.DeleteFunc(slices.Clone(a.Sessions), func(s traffic.Session) bool { return len(s.Steps) == 0 })
	if len(sessions) != b.Len() {
		return fmt.Errorf("%d sessions became %d", len(sessions), b.Len())
	}
	r, err := flows.NewReader(&a.Of)
	if err != nil {
		return err
	}
	for i := range sessions {
		x, y := &sessions[i], &b.Sessions[i]
		if r.Len(x) != r.Len(y) {
			return fmt.Errorf("session %d: %d actions became %d", i, r.Len(x), r.Len(y))
		}
		for k := range r.Len(x) {
			p, q := r.At(x, k), r.At(y, k)
			if gap := p.Gap - q.Gap; p.Down != q.Down || p.Size != q.Size || p.Flags != q.Flags || gap > 2e-9 || gap < -2e-9 {
				return fmt.Errorf("session %d: action %d: %+v became %+v", i, k, p, q)
			}
		}
	}
	return nil
}

func again(t testing.TB, capture []byte) *traffic.Set {
	t.Helper()
	s, counts, err := flows.Read(bytes.NewReader(capture), "compiled", flows.Options{Span: 1 << 62, Idle: 1 << 62})
	if err != nil {
		t.Fatal(err)
	}
	if len(counts.Left) > 0 || counts.Bad > 0 {
		t.Fatalf("of %d compiled packets %v were left out, %d checksums are bad", counts.Packets, counts.Left, counts.Bad)
	}
	return s
}
