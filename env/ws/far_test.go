package ws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planegym/planegym/env"
)

// far is the server's end of a client's connection, which a test writes by hand.
type far struct {
	t testing.TB
	*conn
}

// dialed is a client whose server is the test.
type dialed struct {
	*Client
	t           testing.TB
	ends        chan *far             // of connections that it made
	hello, make map[string]any        // what it said
	tries       []time.Time           // to connect
	down        error                 // of those to come; nil: they succeed
	limit       func(context.Context) // called at each
}

// dialing is a client that dials in a goroutine, the server's end of its connection,
// and where Dial's error comes.
func dialing(t testing.TB, o DialOptions, kwargs string) (d *dialed, f *far, done chan error) {
	d = &dialed{Client: &Client{opts: o}, t: t, ends: make(chan *far, 100)}
	d.reach = d.connect
	done = make(chan error)
	go func() { done <- d.dial(background, []byte(kwargs)) }()
	return d, <-d.ends, done
}

func (d *dialed) connect(ctx context.Context) (*conn, error) {
	d.tries = append(d.tries, time.Now())
	if d.limit != nil {
		d.limit(ctx)
	}
	if d.down != nil {
		return nil, d.down
	}
	near, end := net.Pipe()
	d.ends <- &far{d.t, newConn(end, false, maxRequest, time.Minute)}
	return newConn(near, true, maxReply, time.Minute), nil
}

// scripted runs a test of a client under fake time, whose server is far: its
// environment has three rows, observations of two numbers, two actions of three each,
// and two infos.
func scripted(t *testing.T, o DialOptions, f func(d *dialed, far *far)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.AfterFunc(24*time.Hour, func() { panic("the client and its server wait for each other") }).Stop()
		d, far, done := dialing(t, o, `{"a":1}`)
		d.hello = far.hear("hello")
		far.welcome(`"resume_token":"secret","capabilities":["final_info","resume"],"limits":{"resume_seconds":10}`)
		d.make = far.hear("make")
		far.made(o.Autoreset)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		f(d, far)
		if !d.closed {
			d.opts.Resume = -1
			_ = d.conn.net.Close()
			d.stop()
			<-d.keeperEnd
		}
	})
}

func (f *far) welcome(keys string) { f.say(`{"type":"welcome","id":0,"session":"s",%s}`, keys) }

func (f *far) made(mode env.Autoreset) {
	f.say(`{"type":"made","id":1,"env":7,"num_envs":3,"autoreset":%q,"observation_space":{"type":"box","shape":[2],"low":[-1,"-inf"],"high":[1,"inf"],"elements":[{"name":"a","unit":"s"},{"name":"b","unit":"m"}]},
		"action_space":{"type":"multi_discrete","n":[3,3]},"info_fields":[{"name":"x","unit":"s"},{"name":"y","unit":""}],"in_flight":64,"model_hash":"cafe",
		"reset_options":{"initial_limit":[16,32],"load":[0,1],"phase":["quiet"],"traffic_seed":[]}}`, mode)
}

func (f *far) say(format string, args ...any) {
	f.t.Helper()
	if err := f.send(opText, fmt.Appendf(nil, format, args...), true); err != nil {
		f.t.Errorf("%s: %v", format, err)
	}
}

// hear reads a text request of a type, and gives its keys.
func (f *far) hear(want string) (m map[string]any) {
	f.t.Helper()
	op, p, err := f.in.next()
	if err != nil || op != opText || json.Unmarshal(p, &m) != nil || m["type"] != want {
		f.t.Errorf("want %s, have opcode %d, %q, %v", want, op, p, err)
	}
	return m
}

// request reads a binary request.
func (f *far) request() (r request) {
	f.t.Helper()
	op, p, err := f.in.next()
	if err == nil {
		r.header, err = parseHeader(p)
	}
	if err == nil {
		err = r.decode(p, 3, 2)
	}
	if err != nil || op != opBinary {
		f.t.Errorf("want a request, have opcode %d, %q, %v", op, p, err)
	}
	return r
}

// numbers are n numbers from x on.
func numbers(n int, x float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = x + float32(i)
	}
	return out
}

// answer sends the result of a request for n rows and steps steps, whose numbers
// begin at x: observations there, infos at x+100, final ones at x+200; the first row
// ends its episode where final is set.
func (f *far) answer(h header, steps int, x float32, infos, final bool) {
	f.t.Helper()
	if err := f.send(opBinary, resultOf(h, steps, x, infos, final), true); err != nil {
		f.t.Error(err)
	}
}

// together answers requests, which are for a step of all rows, in one write: the numbers
// of each result begin at its request's.
func (f *far) together(rs []request) {
	f.t.Helper()
	for _, r := range rs {
		if err := f.send(opBinary, resultOf(r.header, 1, float32(r.Seq), false, false), false); err != nil {
			f.t.Error(err)
		}
	}
	if err := f.flush(); err != nil {
		f.t.Error(err)
	}
}

// resultOf is the message that answer sends.
func resultOf(h header, steps int, x float32, infos, final bool) []byte {
	rows := int(h.N) * steps
	b := env.Batch{Obs: numbers(2*rows, x), Reward: numbers(rows, x), Terminated: make([]bool, rows), Truncated: make([]bool, rows)}
	var info, finals []float32
	if final {
		b.Terminated[0], b.FinalObs = true, numbers(2*rows, x+50)
	}
	if infos {
		info = numbers(2*rows, x+100)
		if finals = nil; final {
			finals = numbers(2*rows, x+200)
		}
	}
	h.Type++
	return appendResult(nil, h, steps, &b, info, finals)
}

// sends sends n steps of all rows, and gives the requests that the server has got.
func (d *dialed) sends(f *far, n int) (heard []request) {
	d.t.Helper()
	if err := while(func() {
		for range n {
			heard = append(heard, f.request())
		}
	}, func() error {
		for range n {
			if _, err := d.Send(nil, make([]int32, 6)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	return heard
}

// while runs call beside script, which is the server, and gives call's error.
func while(script func(), call func() error) error {
	done := make(chan struct{})
	go func() { defer close(done); script() }()
	err := call()
	<-done
	return err
}

var errUnplugged = errors.New("no network")
