package p4rt

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
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
		return unreachable(err)
	case codes.FailedPrecondition:
		return fmt.Errorf("%w: %s", p4.ErrPipeline, st.Message())
	}
	return err
}

// unreachable is p4.ErrUnreachable with the last of errs that is not nil as its
// cause, in one line; the others stay in reach of errors.Is.
func unreachable(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return p4.ErrUnreachable
	}
	last := errs[len(errs)-1]
	if errors.Is(last, p4.ErrUnreachable) {
		return last
	}
	return fmt.Errorf("%w: %w", p4.ErrUnreachable, &cause{plainly(last), errs})
}

// cause is errors that one text stands for.
type cause struct {
	text string
	errs []error
}

func (c *cause) Error() string   { return c.text }
func (c *cause) Unwrap() []error { return c.errs }

// dialling is what gRPC and package net put before the reason of a failed
// connection: who dialled whom is known already.
var dialling = regexp.MustCompile(`^connection error: desc = "(?:transport: )?(?:Error while dialing: )?(?:dial (?:tcp|unix)[^"]*?: (?:connect: )?)?([^"]*)"$`)

// plainly is err without its transport's wrapping.
func plainly(err error) string {
	st, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	if m := dialling.FindStringSubmatch(st.Message()); m != nil {
		return m[1]
	}
	return st.Message()
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
