package ws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/planegym/planegym/env"
)

// This file owns a client's requests and the replies to them, on the caller's goroutine.

const clientName = "planegym-go"

// waiter lets a context interrupt a read. The hook stays from call to call
// while the context is the same, so that waiting allocates nothing.
type waiter struct {
	conn *conn
	ctx  context.Context
	stop func() bool
	ran  chan struct{} // closed when the hook is done
}

func (w *waiter) on(ctx context.Context) error {
	if w.ctx != nil && reflect.TypeOf(ctx).Comparable() && w.ctx == ctx {
		return nil
	}
	if w.stop != nil && !w.stop() {
		<-w.ran // before the deadlines that it sets are taken away
		if err := w.conn.unhurried(); err != nil {
			return err
		}
	}
	w.ctx, w.stop = ctx, nil
	if err := w.conn.net.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if ctx.Done() != nil {
		ran, conn := make(chan struct{}), w.conn
		w.ran = ran
		w.stop = context.AfterFunc(ctx, func() {
			defer close(ran)
			_ = conn.net.SetReadDeadline(time.Now())
			conn.interrupt()
		})
	}
	return nil
}

// toWrite is on for a write, which needs it only if ctx can end, or if the ctx of an
// earlier call has ended and its hook may still run.
func (w *waiter) toWrite(ctx context.Context) error {
	if ctx.Done() == nil && (w.ctx == nil || w.ctx.Err() == nil) {
		return nil
	}
	return w.on(ctx)
}

// post sends c.req. With an error of ctx and seq above 0 the request is under way
// all the same: the next call sends it.
func (c *Client) post(ctx context.Context, kind uint8, n int, rows []int, flush bool) (seq uint64, err error) {
	r := &c.req
	r.header = header{Type: kind, Env: c.made.Env, N: uint32(n), Seq: c.sent + 1}
	r.Rows, r.Ack = rows, c.got
	if rows != nil {
		r.Flags |= flagSubset
	}
	if c.opts.Info {
		r.Flags |= flagInfo
	}
	if c.resync || c.sent == max(c.got, c.dropped) {
		r.Flags |= flagResync
	}
	if r.Seeds != nil {
		r.Flags |= flagSeeds
	}
	c.buf = r.append(c.buf[:0])
	r.Rows, r.Seeds, r.Actions = nil, nil, nil // the caller's
	if len(c.buf) > maxRequest {
		return seq, fmt.Errorf("%w: a request of %d bytes, the most is %d", ErrCapacity, len(c.buf), maxRequest)
	}
	c.sent++
	c.resync = false
	c.keepRequest(opBinary, c.buf)
	if err := c.write(ctx, opBinary, c.buf, flush); err != nil {
		if err := c.resume(ctx, err); err != nil {
			return c.sent, err
		}
	}
	c.active.Store(true)
	return c.sent, nil
}

// await reads the result of seq, whose rows were rows, into out. An error of
// ctx, or nil and c.got < seq, means that it has not come.
func (c *Client) await(ctx context.Context, seq uint64, want uint8, rows []int, out *env.Batch) error {
	for {
		op, p, err := c.next(ctx)
		if err != nil {
			return err
		}
		got, failed, err := c.number(ctx, op, p)
		switch {
		case err != nil:
			return err
		case got == 0, got <= c.got: // an event; a reply that had come before a cut
			continue
		case got == c.got+1 && got <= c.dropped: // its caller has gone
			c.got = got
			continue
		case got != seq || got != c.got+1:
			return c.fail(fmt.Errorf("%w: reply %d while %d is awaited", ErrBadFrame, got, seq))
		}
		c.got = got
		if failed != nil {
			c.resync = c.resync || !errors.Is(failed, ErrSkipped)
			return failed
		}
		if err := c.res.decode(p, c.shape, out); err != nil {
			return c.fail(err)
		}
		if c.res.Type != want || rows != nil && int(c.res.N) != len(rows) || rows == nil && c.res.Flags&flagSubset == 0 && int(c.res.N) != c.shape.num {
			return c.fail(fmt.Errorf("%w: reply %d is of type %d and %d rows", ErrBadFrame, got, c.res.Type, c.res.N))
		}
		if f := c.shape.f; len(c.res.Info) > 0 && len(c.info) > 0 && want != typeStepManyResult {
			final := c.res.Info
			if len(c.res.Final) > 0 {
				final = c.res.Final
			}
			for i := range int(c.res.N) {
				copy(c.info[env.RowAt(rows, i)*f:][:f], c.res.Info[i*f:])
				copy(c.final[env.RowAt(rows, i)*f:][:f], final[i*f:])
			}
		}
		return nil
	}
}

// call is a request and its result. When ctx ends between them the request
// is executed all the same, and its result dropped.
func (c *Client) call(ctx context.Context, kind uint8, n int, rows []int, out *env.Batch) error {
	seq, err := c.post(ctx, kind, n, rows, true)
	if err == nil {
		err = c.await(ctx, seq, kind+1, rows, out)
	}
	if err != nil && c.got < seq && c.broken == nil {
		c.dropped = seq
	}
	return err
}

// ask sends the text request m, with the next number, and reads its reply, of type
// want, into out. A request that cannot be sent uses up no number.
func (c *Client) ask(ctx context.Context, want string, m map[string]any, out any) error {
	m["id"], m["ack"] = c.sent+1, c.got
	return c.exchange(ctx, want, c.sent+1, m, out)
}

// exchange sends m, whose number is id, and reads its reply. Only hello has number 0,
// which is not counted as sent.
func (c *Client) exchange(ctx context.Context, want string, id uint64, m, out any) error {
	b, err := encode(m)
	if err != nil {
		return err
	}
	if len(b) > maxRequest {
		return fmt.Errorf("%w: a request of %d bytes, the most is %d", ErrCapacity, len(b), maxRequest)
	}
	if id != 0 {
		c.sent = id
		c.keepRequest(opText, b)
	}
	if err := c.write(ctx, opText, b, true); err != nil {
		if err := c.resume(ctx, err); err != nil {
			return err
		}
	}
	for {
		op, p, err := c.next(ctx)
		if err != nil {
			return err
		}
		seq, failed, err := c.number(ctx, op, p)
		switch {
		case err != nil:
			return err
		case seq == 0 && id != 0, seq != id && seq <= max(c.got, c.dropped):
			continue // an event, or a reply whose caller has gone
		case seq != id:
			return c.fail(fmt.Errorf("%w: reply %d while %d is awaited", ErrBadFrame, seq, id))
		}
		c.got = max(c.got, seq)
		if failed != nil {
			return failed
		}
		if err := json.Unmarshal(p, out); err != nil {
			return c.fail(fmt.Errorf("%w: %s: %v", ErrBadFrame, want, err))
		}
		return nil
	}
}

// number is whose reply a message is, 0 for an event, and the error that the
// reply is, if it is one.
func (c *Client) number(ctx context.Context, op byte, p []byte) (seq uint64, failed, err error) {
	if op == opBinary {
		h, err := parseHeader(p)
		if err != nil {
			err = c.fail(err)
		}
		return h.Seq, nil, err
	}
	var m errorMessage
	if err := json.Unmarshal(p, &m); err != nil {
		return seq, nil, c.fail(fmt.Errorf("%w: %v", ErrBadFrame, err))
	}
	switch {
	case m.Type == "event":
		return seq, nil, nil
	case m.Type != "error":
		return m.ID, nil, nil
	case m.Fatal:
		return seq, nil, c.resume(ctx, m.remote())
	}
	return m.ID, m.remote(), nil
}

// next is the next data message. An error of ctx leaves the connection whole.
func (c *Client) next(ctx context.Context) (op byte, p []byte, err error) {
	for {
		op, p, err = c.receive(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return op, p, err
		}
		if err := c.resume(ctx, err); err != nil {
			return op, p, err
		}
	}
}

func (c *Client) receive(ctx context.Context) (op byte, p []byte, err error) {
	if err := c.waiting.on(ctx); err != nil {
		return op, p, err
	}
	for {
		op, p, err = c.conn.in.next()
		switch {
		case isTimeout(err) && ctx.Err() != nil:
			return op, p, ctx.Err()
		case op == opPing:
			err = c.conn.send(opPong, p, true)
		case op == opClose:
			err = parseClose(p)
		}
		if err != nil || op == opText || op == opBinary {
			return op, p, err
		}
	}
}

// write sends a message; ctx ends a write that waits for the network.
func (c *Client) write(ctx context.Context, op byte, b []byte, flush bool) error {
	err := c.waiting.toWrite(ctx)
	if err == nil {
		err = c.conn.send(op, b, flush)
	}
	return err
}
