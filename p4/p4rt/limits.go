package p4rt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/internal/wait"
	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// entry is the table entry that puts a limit in force on a port.
func (r *resolved) entry(port p4.Port, l p4.Limit) (*p4v1.TableEntry, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	qid := slices.Index(r.Queues, l)
	if r.Mode == program.Meter {
		qid = 0
	} else if qid < 0 {
		return nil, fmt.Errorf("%w %d: there are %v", p4.ErrNotProvisioned, l, r.Queues)
	}
	e, err := r.names.entry(program.Entry{
		Table: program.Table, Match: map[string]string{program.KeyPort: fmt.Sprint(port)},
		Action: program.Action, Params: map[string]string{program.ParamLimit: fmt.Sprint(l), program.ParamQueue: fmt.Sprint(qid)},
	})
	if err != nil {
		return nil, err
	}
	if r.Mode == program.Meter {
		// A modify without a meter would reset it: always green.
		e.MeterConfig = &p4v1.MeterConfig{Cir: r.Rate, Cburst: int64(l), Pir: r.Rate, Pburst: int64(l)}
	}
	return e, nil
}

// limitOf is the limit that an entry enforces: the depth of the queue it
// picks, or its meter's burst. An entry that says one limit and enforces
// another, or picks a queue whose depth is not known, is not one of ours:
// p4.ErrReadBack.
func (r *resolved) limitOf(e *p4v1.TableEntry) (p4.Limit, error) {
	said, _ := r.names.param(e, program.ParamLimit)
	var l p4.Limit
	if r.Mode == program.Meter {
		if e.MeterConfig == nil {
			return 0, fmt.Errorf("%w: the meter is unset, all packets are green", p4.ErrNoLimit)
		}
		l = p4.Limit(min(e.MeterConfig.Pburst, int64(p4.MaxLimit)))
	} else {
		qid, _ := r.names.param(e, program.ParamQueue)
		if qid >= uint64(len(r.Queues)) {
			return 0, fmt.Errorf("%w: the entry says %d and picks queue %d: there are %v", p4.ErrReadBack, said, qid, r.Queues)
		}
		l = r.Queues[qid]
	}
	if l != p4.Limit(said) {
		return l, fmt.Errorf("%w: the entry says %d and enforces %d", p4.ErrReadBack, said, l)
	}
	return l, nil
}

// SetLimit puts a limit in force on a port. Errors: p4.ErrNotPrimary,
// p4.ErrUnreachable, p4.ErrPipeline, p4.ErrNotProvisioned, p4.ErrClosed,
// *WriteError.
func (c *Client) SetLimit(ctx context.Context, port p4.Port, l p4.Limit) error {
	if !slices.Contains(c.cfg.Ports, port) {
		return c.named(fmt.Errorf("port %d is not one of %v", port, c.cfg.Ports))
	}
	e, err := c.cfg.entry(port, l)
	if err != nil {
		return c.named(err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err := c.await(ctx, c.synced); err != nil {
		return err
	}
	// Of queues whose depths are not known, the first is the one to be in.
	if err := c.depths(); err != nil && l != c.cfg.Safe {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.cfg.Mode == program.Meter {
		// Writing what already exists would refill the meter's bucket.
		if have, err := c.readPort(ctx, e); err == nil && have != nil && same(have, e) {
			c.remember(port, l)
			return nil
		}
	}
	err = c.put(ctx, []*p4v1.TableEntry{e})
	if err == nil {
		c.remember(port, l)
		return nil
	}
	if !outOfTouch(err) {
		if other := c.checkPipeline(ctx); errors.Is(other, p4.ErrPipeline) {
			c.distrust()
			err = fmt.Errorf("%w; %w", other, err)
		}
	}
	return c.named(err)
}

func (c *Client) remember(port p4.Port, l p4.Limit) {
	c.mu.Lock()
	c.limits[port] = l
	c.mu.Unlock()
}

// distrust makes the client look at the whole switch again.
func (c *Client) distrust() {
	c.update(func() {
		c.state.Synced = false
		c.lose()
		signal(c.resync)
	})
}

// Limit reads the limit in force on a port; a backup may, too. Errors:
// p4.ErrNoLimit, p4.ErrReadBack, p4.ErrUnreachable, p4.ErrPipeline,
// p4.ErrClosed.
func (c *Client) Limit(ctx context.Context, port p4.Port) (p4.Limit, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err := c.await(ctx, c.connected); err != nil {
		return 0, err
	}
	if err := c.depths(); err != nil {
		return 0, err
	}
	key, err := c.key(port)
	if err != nil {
		return 0, c.named(err)
	}
	e, err := c.readPort(ctx, key)
	switch {
	case status.Code(err) == codes.NotFound || status.Code(err) == codes.InvalidArgument:
		return 0, c.named(fmt.Errorf("%w: %w", p4.ErrPipeline, err))
	case err != nil:
		return 0, c.named(err)
	case e == nil:
		return 0, c.named(fmt.Errorf("%w: port %d", p4.ErrNoLimit, port))
	}
	l, err := c.cfg.limitOf(e)
	return l, c.named(err)
}

// depths is p4.ErrUnprovisioned where the switch has lost its queues' depths.
func (c *Client) depths() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unknown {
		return c.named(p4.ErrUnprovisioned)
	}
	return nil
}

// key is an entry of the limit table with its match alone.
func (c *Client) key(port p4.Port) (*p4v1.TableEntry, error) {
	t, err := c.cfg.names.Table(program.Table)
	if err != nil {
		return nil, err
	}
	v, err := program.Canonical(uint64(port), t.MatchFields[0].Bitwidth)
	if err != nil {
		return nil, err
	}
	return &p4v1.TableEntry{TableId: t.Preamble.Id, Match: []*p4v1.FieldMatch{{
		FieldId: t.MatchFields[0].Id, FieldMatchType: &p4v1.FieldMatch_Exact_{Exact: &p4v1.FieldMatch_Exact{Value: v}},
	}}}, nil
}

// Count is what has hit a port's entry: its direct counter.
func (c *Client) Count(ctx context.Context, port p4.Port) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err := c.await(ctx, c.connected); err != nil {
		return 0, err
	}
	key, err := c.key(port)
	if err != nil {
		return 0, c.named(err)
	}
	found, err := c.read(ctx, &p4v1.Entity{Entity: &p4v1.Entity_DirectCounterEntry{DirectCounterEntry: &p4v1.DirectCounterEntry{TableEntry: key}}})
	if err != nil {
		return 0, c.named(err)
	}
	for _, e := range found {
		if d := e.GetDirectCounterEntry(); d != nil {
			return d.Data.GetPacketCount(), nil
		}
	}
	return 0, c.named(fmt.Errorf("%w: port %d", p4.ErrNoLimit, port))
}

// readPort reads the entry with e's key, or nil.
func (c *Client) readPort(ctx context.Context, e *p4v1.TableEntry) (*p4v1.TableEntry, error) {
	q := &p4v1.TableEntry{TableId: e.TableId, Match: e.Match, IsDefaultAction: e.IsDefaultAction, MeterConfig: c.meterQuery(e.TableId)}
	found, err := c.read(ctx, &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{TableEntry: q}})
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if t := f.GetTableEntry(); t != nil && keyOf(t) == keyOf(e) {
			return t, nil
		}
	}
	return nil, nil
}

// meterQuery asks a read for the meter, of a table that has one.
func (c *Client) meterQuery(table uint32) *p4v1.MeterConfig {
	if slices.ContainsFunc(c.cfg.names.Info.DirectMeters, func(m *configv1.DirectMeter) bool { return m.DirectTableId == table }) {
		return &p4v1.MeterConfig{}
	}
	return nil
}

// read drains a read's stream to its end.
func (c *Client) read(ctx context.Context, want ...*p4v1.Entity) ([]*p4v1.Entity, error) {
	rpc, _, err := c.call()
	if err != nil {
		return nil, err
	}
	stream, err := rpc.Read(ctx, &p4v1.ReadRequest{DeviceId: c.cfg.DeviceID, Role: c.cfg.Role, Entities: want})
	if err != nil {
		return nil, explain(err)
	}
	var out []*p4v1.Entity
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, explain(err)
		}
		out = append(out, m.Entities...)
	}
}

func (c *Client) call() (p4v1.P4RuntimeClient, *p4v1.Uint128, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, nil, p4.ErrClosed
	case c.rpc == nil:
		return nil, nil, unreachable(c.state.Err)
	}
	return c.rpc, c.election, nil
}

// put modifies entries, inserting those that are not there.
func (c *Client) put(ctx context.Context, entries []*p4v1.TableEntry) error {
	updates := make([]*p4v1.Update, len(entries))
	for i, e := range entries {
		updates[i] = &p4v1.Update{Type: p4v1.Update_MODIFY, Entity: &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{TableEntry: e}}}
	}
	err := c.write(ctx, updates)
	var refused *WriteError
	if !errors.As(err, &refused) || len(refused.Updates) == 0 {
		return err
	}
	var missing []*p4v1.Update
	var at []int // of missing, in entries
	for _, u := range refused.Updates {
		// BMv2 answers a modify of no entry with NOT_FOUND, others with INVALID_ARGUMENT.
		if u.Index >= len(updates) || u.Code != codes.NotFound && u.Code != codes.InvalidArgument || entries[u.Index].IsDefaultAction {
			return err
		}
		missing, at = append(missing, &p4v1.Update{Type: p4v1.Update_INSERT, Entity: updates[u.Index].Entity}), append(at, u.Index)
	}
	err = c.write(ctx, missing)
	if errors.As(err, &refused) {
		for i := range refused.Updates {
			refused.Updates[i].Index = at[min(refused.Updates[i].Index, len(at)-1)]
		}
	}
	return err
}

func (c *Client) write(ctx context.Context, updates []*p4v1.Update) error {
	rpc, election, err := c.call()
	if err != nil {
		return err
	}
	_, err = rpc.Write(ctx, &p4v1.WriteRequest{DeviceId: c.cfg.DeviceID, Role: c.cfg.Role, ElectionId: election, Updates: updates})
	return explainWrite(err)
}

// errNoPipeline is the p4.ErrPipeline of a switch that runs none.
var errNoPipeline error = noPipeline{}

type noPipeline struct{}

func (noPipeline) Error() string        { return "p4: the switch runs no pipeline" }
func (noPipeline) Is(target error) bool { return target == p4.ErrPipeline }

// checkPipeline is nil where the switch runs our program, p4.ErrPipeline where
// it runs another or none.
func (c *Client) checkPipeline(ctx context.Context) error {
	rpc, _, err := c.call()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout) // a sync's is longer
	defer cancel()
	r, err := rpc.GetForwardingPipelineConfig(ctx, &p4v1.GetForwardingPipelineConfigRequest{
		DeviceId: c.cfg.DeviceID, ResponseType: p4v1.GetForwardingPipelineConfigRequest_COOKIE_ONLY,
	})
	if status.Code(err) == codes.FailedPrecondition {
		return errNoPipeline
	}
	if err != nil {
		return explain(err)
	}
	if got := r.GetConfig().GetCookie().GetCookie(); got != c.cfg.program.Cookie {
		return fmt.Errorf("%w: cookie %016x, ours %016x", p4.ErrPipeline, got, c.cfg.program.Cookie)
	}
	return nil
}

// Pipeline reports whether the switch runs our program: nil, p4.ErrPipeline, or
// why that is not known.
func (c *Client) Pipeline(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err := c.await(ctx, c.connected); err != nil {
		return err
	}
	return c.named(c.checkPipeline(ctx))
}

// P4Info reports whether what the switch says of its program is what ours says:
// nil, or p4.ErrPipeline with the first object that differs.
func (c *Client) P4Info(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err := c.await(ctx, c.connected); err != nil {
		return err
	}
	rpc, _, err := c.call()
	if err != nil {
		return err
	}
	r, err := rpc.GetForwardingPipelineConfig(ctx, &p4v1.GetForwardingPipelineConfigRequest{
		DeviceId: c.cfg.DeviceID, ResponseType: p4v1.GetForwardingPipelineConfigRequest_P4INFO_AND_COOKIE,
	})
	if err != nil {
		return c.named(explain(err))
	}
	return c.named(compareInfo(r.GetConfig().GetP4Info(), c.cfg.names.Info))
}

// compareInfo is p4.ErrPipeline with the first table, action or packet header
// of ours that theirs has not, or has otherwise.
func compareInfo(theirs, ours *configv1.P4Info) error {
	if theirs == nil {
		return fmt.Errorf("%w: it tells no P4Info", p4.ErrPipeline)
	}
	type object interface {
		proto.Message
		GetPreamble() *configv1.Preamble
	}
	var have, want []object
	for _, t := range theirs.Tables {
		have = append(have, t)
	}
	for _, t := range ours.Tables {
		want = append(want, t)
	}
	for _, t := range theirs.Actions {
		have = append(have, t)
	}
	for _, t := range ours.Actions {
		want = append(want, t)
	}
	for _, t := range theirs.ControllerPacketMetadata {
		have = append(have, t)
	}
	for _, t := range ours.ControllerPacketMetadata {
		want = append(want, t)
	}
	for _, w := range want {
		i := slices.IndexFunc(have, func(h object) bool { return h.GetPreamble().GetName() == w.GetPreamble().GetName() })
		if i < 0 {
			return fmt.Errorf("%w: it has no %s", p4.ErrPipeline, w.GetPreamble().GetName())
		}
		if !proto.Equal(have[i], w) {
			return fmt.Errorf("%w: its %s is not ours", p4.ErrPipeline, w.GetPreamble().GetName())
		}
	}
	return nil
}

// pushPipeline sets our program, in the first of the ways that the switch knows.
func (c *Client) pushPipeline(ctx context.Context) error {
	rpc, election, err := c.call()
	if err != nil {
		return err
	}
	for _, action := range c.cfg.push {
		_, err = rpc.SetForwardingPipelineConfig(ctx, &p4v1.SetForwardingPipelineConfigRequest{
			DeviceId: c.cfg.DeviceID, Role: c.cfg.Role, ElectionId: election, Action: action,
			Config: &p4v1.ForwardingPipelineConfig{
				P4Info: c.cfg.names.Info, P4DeviceConfig: c.cfg.program.Device,
				Cookie: &p4v1.ForwardingPipelineConfig_Cookie{Cookie: c.cfg.program.Cookie},
			},
		})
		if err == nil {
			return nil
		}
		if err = explain(err); outOfTouch(err) {
			return err
		}
		err = fmt.Errorf("push %v: %w", action, err)
	}
	return err
}

// syncer makes the switch as it should be whenever asked, and tries again
// while that fails and the client is primary.
func (c *Client) syncer(ctx context.Context, resync chan struct{}) {
	key := rng.Key{Seed: c.cfg.Seed, A: 1, Purpose: rng.Backoff}
	for n := uint32(0); ; n++ {
		select {
		case <-resync:
		case <-ctx.Done():
			return
		}
		for attempt := 0; ; attempt++ {
			c.mu.Lock()
			due := c.state.Primary && !c.state.Synced
			c.mu.Unlock()
			if !due {
				break
			}
			e, err := c.sync(ctx)
			if ctx.Err() != nil {
				return
			}
			if errors.Is(err, errTerm) {
				continue // at once: it is primary again, or will be
			}
			var primary bool
			c.update(func() {
				primary = c.state.Primary
				if c.state.Err = err; err == nil && primary {
					c.state.Synced = true
				}
			})
			if !primary {
				break
			}
			if e.Kind = Up; err != nil {
				e.Kind, e.Err = Failed, err
			}
			c.notify(e)
			if err == nil {
				break
			}
			if wait.For(ctx, backoff(c.cfg.Backoff, attempt, key.Float64(n))) != nil {
				return
			}
		}
	}
}

// errTerm is a sync during which the switch was out of our hands: what it saw
// is void.
var errTerm = errors.New("out of hand meanwhile")

// sync pushes the program where the switch runs another, then reads what is
// there and writes what is missing or different, reads again and compares.
// One that does not hold its place only looks.
func (c *Client) sync(ctx context.Context) (ev Event, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	// A program with its JSON takes a while: more than one entry's time.
	ctx, cancel := context.WithTimeout(ctx, 10*c.cfg.Timeout)
	defer cancel()
	c.mu.Lock()
	held, lost, limits, term, unknown := c.held, c.lost, maps.Clone(c.limits), c.term, c.unknown
	restarted := c.ever
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.term != term:
			err = errTerm
		case err == nil && held:
			c.limits, c.lost, c.ever, c.unknown = limits, false, true, unknown
		}
	}()
	err = c.checkPipeline(ctx)
	restarted = restarted && errors.Is(err, errNoPipeline)
	if errors.Is(err, p4.ErrPipeline) && held && len(c.cfg.push) > 0 {
		err = c.pushPipeline(ctx)
		ev.Pushed = err == nil
	}
	if err != nil || !held {
		return ev, err
	}
	if c.cfg.Mode == program.Queue {
		if unknown = unknown || restarted; c.cfg.Provision != nil {
			if err := c.cfg.Provision(ctx); err != nil {
				return ev, fmt.Errorf("provision: %w", err)
			}
			unknown, ev.Provisioned = false, true
		}
	}
	if lost && c.cfg.Safe != 0 {
		for p := range limits {
			limits[p] = c.cfg.Safe
		}
		ev.Safe = len(limits) > 0
	}
	wanted, err := c.wanted(limits)
	if err != nil {
		return ev, err
	}
	wrong, err := c.different(ctx, wanted)
	if err != nil {
		return ev, err
	}
	if len(wrong) > 0 {
		if err := c.put(ctx, wrong); err != nil {
			return ev, err
		}
		ev.Restored = len(wrong)
		if wrong, err = c.different(ctx, wanted); err != nil {
			return ev, err
		}
		if len(wrong) > 0 {
			return ev, fmt.Errorf("%w: %d of %d entries are not as written: %s", p4.ErrReadBack, len(wrong), len(wanted), keyOf(wrong[0]))
		}
	}
	return ev, nil
}

// strayed reports whether the switch answers that it does not hold what it
// should. It looks without keeping writes waiting, and where something seems
// wrong once more beside none: a limit may have been set between two answers.
func (c *Client) strayed(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	look := func() bool {
		c.mu.Lock()
		limits := maps.Clone(c.limits)
		c.mu.Unlock()
		wanted, err := c.wanted(limits)
		if err != nil {
			return false
		}
		wrong, err := c.different(ctx, wanted)
		return err == nil && len(wrong) > 0
	}
	if !look() {
		return false
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return look()
}

// wanted is all that the switch should hold: the static entries, the safe
// limit as the limit table's default, and the limits.
func (c *Client) wanted(limits map[p4.Port]p4.Limit) ([]*p4v1.TableEntry, error) {
	w := slices.Clone(c.cfg.static)
	if c.cfg.Safe != 0 && c.cfg.Mode == program.Queue {
		e, err := c.cfg.entry(0, c.cfg.Safe)
		if err != nil {
			return nil, err
		}
		w = append(w, &p4v1.TableEntry{TableId: e.TableId, Action: e.Action, IsDefaultAction: true})
	}
	for _, p := range slices.Sorted(maps.Keys(limits)) {
		e, err := c.cfg.entry(p, limits[p])
		if err != nil {
			return nil, err
		}
		w = append(w, e)
	}
	return w, nil
}

// different gives the wanted entries that the switch does not hold as wanted.
func (c *Client) different(ctx context.Context, wanted []*p4v1.TableEntry) ([]*p4v1.TableEntry, error) {
	var wrong []*p4v1.TableEntry
	have := map[string]*p4v1.TableEntry{}
	asked := map[uint32]bool{}
	for _, w := range wanted {
		if w.IsDefaultAction {
			e, err := c.readPort(ctx, w)
			if err != nil {
				return nil, err
			}
			if e != nil {
				have[keyOf(e)] = e
			}
			continue
		}
		if asked[w.TableId] {
			continue
		}
		asked[w.TableId] = true
		found, err := c.read(ctx, &p4v1.Entity{Entity: &p4v1.Entity_TableEntry{
			TableEntry: &p4v1.TableEntry{TableId: w.TableId, MeterConfig: c.meterQuery(w.TableId)},
		}})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if t := f.GetTableEntry(); t != nil {
				have[keyOf(t)] = t
			}
		}
	}
	for _, w := range wanted {
		if h := have[keyOf(w)]; h == nil || !same(h, w) {
			wrong = append(wrong, w)
		}
	}
	return wrong, nil
}
