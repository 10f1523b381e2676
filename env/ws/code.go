package ws

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/planegym/planegym/env"
)

// What callers of either side branch on, beside the sentinels of package env.
var (
	ErrBadFrame         = errors.New("malformed or out-of-turn message")
	ErrBadVersion       = errors.New("protocol version is not spoken here")
	ErrUnknownEnv       = errors.New("no such environment on this session")
	ErrUnknownScenario  = errors.New("unknown scenario")
	ErrInvalidConfig    = errors.New("invalid configuration")
	ErrModelUnavailable = errors.New("model is not available")
	ErrSkipped          = errors.New("skipped after an earlier error")
	ErrTimeout          = errors.New("step took too long")
	ErrEnv              = errors.New("environment failed")
	ErrInternal         = errors.New("environment panicked")
	ErrCapacity         = errors.New("over capacity")
	ErrRateLimited      = errors.New("message rate exceeded")
	ErrSlowConsumer     = errors.New("replies were not read in time")
	ErrDraining         = errors.New("server is going away")
	ErrSessionBusy      = errors.New("session still has a connection")
	ErrSessionLost      = errors.New("session is lost")
	ErrUnauthorized     = errors.New("unauthorized")
)

// codes are the stable names of errors on the wire; the first that matches
// an error is its own.
var codes = []struct {
	code string
	err  error
}{
	{"invalid_action", env.ErrInvalidAction},
	{"invalid_rows", env.ErrInvalidRows},
	{"reset_required", env.ErrNeedReset},
	{"episode_over", env.ErrEpisodeOver},
	{"bad_snapshot", env.ErrBadSnapshot},
	{"closed", env.ErrClosed},
	{"bad_frame", ErrBadFrame},
	{"bad_version", ErrBadVersion},
	{"unknown_env", ErrUnknownEnv},
	{"unknown_scenario", ErrUnknownScenario},
	{"invalid_config", ErrInvalidConfig},
	{"model_unavailable", ErrModelUnavailable},
	{"skipped", ErrSkipped},
	{"timeout", ErrTimeout},
	{"internal", ErrInternal},
	{"capacity", ErrCapacity},
	{"rate_limited", ErrRateLimited},
	{"slow_consumer", ErrSlowConsumer},
	{"draining", ErrDraining},
	{"session_busy", ErrSessionBusy},
	{"session_lost", ErrSessionLost},
	{"unauthorized", ErrUnauthorized},
	{"timeout", context.DeadlineExceeded},
	{"draining", context.Canceled}, // only the end of its session cancels a step
	{"invalid_config", env.ErrInvalidOption},
	{"env_error", ErrEnv},
}

// codeOf is the wire's name for err; what no name fits is the environment's.
func codeOf(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return "env_error"
}

// Error is an error that came over the wire. errors.Is finds the sentinel of
// its code, the same that the far side had.
type Error struct {
	Code    string // see PROTOCOL.md
	Message string
	RetryMS int  // when trying again may help; 0: unsaid
	Fatal   bool // the connection ended with it
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Code) }

// Unwrap is the sentinel of the code, or nil for a code of a later version.
func (e *Error) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Code {
			return c.err
		}
	}
	return nil
}

// Is says that a refused configuration may be a refused option of a reset.
func (e *Error) Is(target error) bool {
	return target == env.ErrInvalidOption && e.Code == "invalid_config"
}

// remote is the error that m carries; one of a row is an *env.RowError.
func (m *errorMessage) remote() error {
	e := &Error{m.Code, m.Message, m.RetryMS, m.Fatal}
	if m.Row == nil {
		return e
	}
	e.Message = strings.TrimPrefix(e.Message, fmt.Sprintf("row %d: ", *m.Row))
	return &env.RowError{Row: *m.Row, Err: e}
}
