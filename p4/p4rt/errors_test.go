package p4rt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/planegym/planegym/p4"
)

// unreachable speaks of the last error that there is, and wraps them all.
func TestUnreachable(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	once := unreachable(a)
	for _, c := range []struct {
		errs []error
		want string
	}{
		{nil, "p4: switch is unreachable"},
		{[]error{nil}, "p4: switch is unreachable"},
		{[]error{nil, nil}, "p4: switch is unreachable"},
		{[]error{a}, "p4: switch is unreachable: a"},
		{[]error{a, nil}, "p4: switch is unreachable: a"},
		{[]error{nil, b}, "p4: switch is unreachable: b"},
		{[]error{a, nil, b}, "p4: switch is unreachable: b"},
		{[]error{b, once}, "p4: switch is unreachable: a"},
	} {
		err := unreachable(c.errs...)
		if err.Error() != c.want || !errors.Is(err, p4.ErrUnreachable) {
			t.Errorf("%v: %v, want %s", c.errs, err, c.want)
		}
		for _, e := range c.errs {
			if e != nil && len(c.errs) != 2 && !errors.Is(err, e) {
				t.Errorf("%v: %v does not wrap %v", c.errs, err, e)
			}
		}
	}
	if err := unreachable(context.Canceled, b); !errors.Is(err, context.Canceled) || !errors.Is(err, b) {
		t.Errorf("%v does not wrap both", err)
	}
	if err := unreachable(b, once); err != once {
		t.Errorf("%v is not the error that was unreachable already", err)
	}
}

func TestPlainly(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "plain"},
		{status.Error(codes.Unavailable, "going away"), "going away"},
		{status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`), "connection refused"},
		{status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial unix /s: no such file"`), "no such file"},
		{status.Error(codes.Unavailable, `connection error: desc = "error reading server preface: EOF"`), "error reading server preface: EOF"},
	} {
		if got := plainly(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

// What a call's status is to callers.
func TestExplain(t *testing.T) {
	plain := errors.New("plain")
	for _, explains := range []func(error) error{explain, explainWrite} {
		if err := explains(nil); err != nil {
			t.Errorf("nil: %v", err)
		}
		if err := explains(plain); err != plain {
			t.Errorf("%v", err)
		}
		for code, want := range map[codes.Code]error{
			codes.PermissionDenied: p4.ErrNotPrimary, codes.FailedPrecondition: p4.ErrPipeline,
			codes.Unavailable: p4.ErrUnreachable, codes.DeadlineExceeded: p4.ErrUnreachable, codes.Canceled: p4.ErrUnreachable,
		} {
			if err := explains(status.Error(code, "x")); !errors.Is(err, want) || err.Error() != want.Error()+": x" {
				t.Errorf("%v: %v, want %v: x", code, err, want)
			}
		}
		for _, code := range []codes.Code{codes.Unknown, codes.Internal, codes.NotFound} {
			given := status.Error(code, "x")
			if err := explains(given); err != given {
				t.Errorf("%v: %v", code, err)
			}
		}
	}
}

// P4Runtime 1.5 section 12.3: the details hold a p4.v1.Error per update, OK for
// those that were done.
func TestExplainWrite(t *testing.T) {
	failed := func(text string, details ...*p4v1.Error) error {
		st := status.New(codes.Unknown, text)
		for _, d := range details {
			var err error
			if st, err = st.WithDetails(d); err != nil {
				t.Fatal(err)
			}
		}
		return st.Err()
	}
	ok := &p4v1.Error{}
	missing := &p4v1.Error{CanonicalCode: int32(codes.NotFound), Message: "gone", Space: "sim", Code: 4}
	bare := &p4v1.Error{CanonicalCode: int32(codes.Internal)}
	for _, c := range []struct {
		err  error
		want string
		only codes.Code
	}{
		{failed(""), "write refused: Unknown, without details", codes.Unknown},
		{failed("", ok, ok), "write refused: Unknown, without details", codes.Unknown},
		{failed("x", ok, missing), "write refused: update 1: NotFound: gone (sim 4)", codes.NotFound},
		{failed("", bare), "write refused: update 0: Internal", codes.Internal},
		{failed("x", missing, ok, bare), "write refused: update 0: NotFound: gone (sim 4); update 2: Internal", codes.Unknown},
	} {
		err := explainWrite(c.err)
		var w *WriteError
		if !errors.As(err, &w) || err.Error() != c.want || w.only() != c.only || w.Code != codes.Unknown {
			t.Errorf("%v: %v, want %s", c.err, err, c.want)
		}
	}
}

func TestOutOfTouch(t *testing.T) {
	for err, want := range map[error]bool{
		p4.ErrNotPrimary: true, p4.ErrUnreachable: true, p4.ErrClosed: true, context.Canceled: true,
		p4.ErrPipeline: false, p4.ErrNoLimit: false, context.DeadlineExceeded: false,
	} {
		if got := outOfTouch(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
	if outOfTouch(nil) {
		t.Error("no error is out of touch")
	}
}

// ended is a stream that has ended with an error, or without one.
type ended struct {
	p4v1.P4Runtime_StreamChannelClient
	err error
}

func (e ended) Recv() (*p4v1.StreamMessageResponse, error) { return nil, e.err }

// A send fails with EOF on a stream that has ended: the reason is the stream's.
func TestReason(t *testing.T) {
	why, other := errors.New("why"), errors.New("other")
	for _, c := range []struct{ stream, sent, want error }{
		{why, io.EOF, why},
		{why, fmt.Errorf("send: %w", io.EOF), why},
		{nil, io.EOF, io.EOF},
		{why, other, other},
	} {
		if got := reason(ended{err: c.stream}, c.sent); got != c.want {
			t.Errorf("a stream ended by %v, a send by %v: %v, want %v", c.stream, c.sent, got, c.want)
		}
	}
}
