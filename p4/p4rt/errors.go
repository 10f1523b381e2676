package p4rt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/planegym/planegym/p4"
)

// UpdateError is what a switch said of one update of a write.
type UpdateError struct {
	Index   int // in the write
	Code    codes.Code
	Message string
	Space   string // of Vendor, e.g. ALL-sswitch-p4org
	Vendor  int32
}

func (e UpdateError) String() string {
	s := fmt.Sprintf("update %d: %v", e.Index, e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Space != "" {
		s += fmt.Sprintf(" (%s %d)", e.Space, e.Vendor)
	}
	return s
}

// WriteError is a write that the switch took and did not do in full. The
// updates that are not named were done.
type WriteError struct {
	Code    codes.Code // of the call: mostly Unknown
	Updates []UpdateError
}

func (e *WriteError) Error() string {
	if len(e.Updates) == 0 {
		return fmt.Sprintf("write refused: %v, without details", e.Code)
	}
	parts := make([]string, len(e.Updates))
	for i, u := range e.Updates {
		parts[i] = u.String()
	}
	return "write refused: " + strings.Join(parts, "; ")
}

// only is the code of a write's single failed update.
func (e *WriteError) only() codes.Code {
	if len(e.Updates) == 1 {
		return e.Updates[0].Code
	}
	return codes.Unknown
}

// explain makes a call's error one that callers branch on.
func explain(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch st.Code() {
	case codes.PermissionDenied:
		return fmt.Errorf("%w: %s", p4.ErrNotPrimary, st.Message())
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return fmt.Errorf("%w: %w", p4.ErrUnreachable, err)
	case codes.FailedPrecondition:
		return fmt.Errorf("%w: %s", p4.ErrPipeline, st.Message())
	}
	return err
}

// explainWrite decodes the errors of a write: one p4.v1.Error per update in
// the details, codes.OK for those that were done.
func explainWrite(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	switch st.Code() {
	case codes.PermissionDenied, codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.FailedPrecondition:
		return explain(err)
	}
	w := &WriteError{Code: st.Code()}
	for i, d := range st.Details() {
		if e, ok := d.(*p4v1.Error); ok && codes.Code(e.CanonicalCode) != codes.OK {
			w.Updates = append(w.Updates, UpdateError{Index: i, Code: codes.Code(e.CanonicalCode), Message: e.Message, Space: e.Space, Vendor: e.Code})
		}
	}
	if len(w.Updates) == 0 && st.Message() != "" {
		return err
	}
	return w
}

// outOfTouch tells the errors in which the switch never answered for itself.
func outOfTouch(err error) bool {
	return errors.Is(err, p4.ErrNotPrimary) || errors.Is(err, p4.ErrUnreachable) || errors.Is(err, p4.ErrClosed) || errors.Is(err, context.Canceled)
}
