// Package p4rt sets queue limits over P4Runtime 1.5: a client that holds its
// place as primary through cuts, restarts and rivals, and puts back what a
// switch has lost.
package p4rt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/program"
)

// Election is a 128-bit election id: of the clients that a switch has ever
// seen, the one with the highest is primary.
type Election struct {
	High uint64 `toml:"high"` // upper 64 bits; 0
	Low  uint64 `toml:"low"`  // lower 64 bits
}

// Compare is -1, 0 or 1.
func (e Election) Compare(o Election) int {
	switch {
	case e == o:
		return 0
	case e.High < o.High || e.High == o.High && e.Low < o.Low:
		return -1
	}
	return 1
}

func (e Election) proto() *p4v1.Uint128 { return &p4v1.Uint128{High: e.High, Low: e.Low} }

// TLS names the PEM files of a connection.
type TLS struct {
	CA   string `toml:"ca"`   // who signed the switch's certificate; "": the system's authorities
	Cert string `toml:"cert"` // ours, for mutual TLS, with Key; "": none
	Key  string `toml:"key"`  // file of the client's private key, PEM
	Name string `toml:"name"` // the switch's name in its certificate; "": the target's host
}

func (t TLS) credentials() (credentials.TransportCredentials, error) {
	c := &tls.Config{ServerName: t.Name, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no PEM certificate", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, fmt.Errorf("tls: cert and key go together: cert %q, key %q", t.Cert, t.Key)
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(c), nil
}

// Config says which switch is spoken to and how. Zero values are the defaults
// in the comments.
type Config struct {
	Target   string `toml:"target"`    // host:port
	DeviceID uint64 `toml:"device_id"` // 0 works, but many targets start at 1: see Warnings
	// Election is the id claimed. Where nobody is primary the client claims
	// again, with the highest id seen.
	Election Election `toml:"election"` // {0, 1}
	// Backup holds a stream and waits: Election is sent once (zero: unset),
	// nothing is claimed again, pushed or put back until Arbitrate.
	Backup bool   `toml:"-" json:"-"`
	Role   string `toml:"role"` // "": the default role; PINS wants "sdn_controller"
	TLS    *TLS   `toml:"tls"`  // nil: none

	Mode  program.Mode `toml:"mode"`  // "queue"
	Ports []p4.Port    `toml:"ports"` // whose limits are set
	// Queues are the depths that queues were provisioned with, by queue id;
	// in queue mode these are the limits that can be set. Packets that no
	// entry matches take queue 0, so its depth should be the safe one.
	Queues []p4.Limit `toml:"queues"`
	Rate   int64      `toml:"rate"` // meter mode: packets/s that the port really serves; more makes the meter useless
	// Safe is put in force on every port whose limit was set once, whenever
	// the switch was out of our hands: contact, mastership or state lost.
	// 0: the last limit asked for.
	Safe    p4.Limit `toml:"safe"`
	Entries []Entry  `toml:"entries"` // kept on the switch beside the limits: routes, switch ids
	// Push are the ways to set a pipeline, tried in order where the switch
	// has another one: "verify-and-commit" (default; BMv2), or
	// "reconcile-and-commit" (PINS). Empty and not nil: never.
	Push []string `toml:"push"`

	Timeout time.Duration `toml:"timeout"` // of a call; 1 s
	// Backoff is the wait before the first and before every late reconnect; a
	// random half is taken off. {50 ms, 500 ms}
	Backoff [2]time.Duration `toml:"backoff"`
	Seed    uint64           `toml:"-" json:"-"` // of the backoff's jitter: different per client

	Notify func(Event)                                              `toml:"-" json:"-"` // must not block
	Dial   func(ctx context.Context, addr string) (net.Conn, error) `toml:"-" json:"-"` // nil: TCP
}

// Check reports the first thing wrong with c, naming the field.
func (c Config) Check() error {
	_, err := c.resolve()
	return err
}

// Warnings tells what is allowed but often a mistake.
func (c Config) Warnings() []string {
	var w []string
	if c.DeviceID == 0 {
		w = append(w, "device_id is 0: BMv2 accepts it, the specification's targets number from 1")
	}
	if c.TLS == nil {
		w = append(w, "tls is off: whoever reaches the port can set the queues")
	}
	if len(c.Queues) > 0 && c.Safe != 0 && c.Queues[0] != c.Safe {
		w = append(w, fmt.Sprintf("queues[0] is %d, the safe limit %d: a restarted switch begins with queue 0", c.Queues[0], c.Safe))
	}
	return w
}

// resolved is a checked Config with its program.
type resolved struct {
	Config
	creds   credentials.TransportCredentials
	program program.Program
	names   *names
	push    []p4v1.SetForwardingPipelineConfigRequest_Action
	static  []*p4v1.TableEntry
}

// first is the election id that a new client sends, nil where it is unset.
func (r *resolved) first() *p4v1.Uint128 {
	if r.Election == (Election{}) {
		return nil
	}
	return r.Election.proto()
}

func (c Config) resolve() (*resolved, error) {
	fail := func(format string, args ...any) (*resolved, error) {
		return nil, fmt.Errorf("p4rt: "+format, args...)
	}
	if c.Mode == "" {
		c.Mode = program.Queue
	}
	if c.Push == nil {
		c.Push = []string{"verify-and-commit"}
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Backoff == [2]time.Duration{} {
		c.Backoff = [2]time.Duration{50 * time.Millisecond, 500 * time.Millisecond}
	}
	if c.Election == (Election{}) && !c.Backup {
		c.Election.Low = 1
	}
	r := &resolved{Config: c, creds: insecure.NewCredentials()}
	if _, _, err := net.SplitHostPort(c.Target); err != nil && c.Dial == nil {
		return fail("target: %q is no host:port", c.Target)
	}
	switch {
	case c.Timeout < 0:
		return fail("timeout: %v is negative", c.Timeout)
	case c.Backoff[0] <= 0 || c.Backoff[1] < c.Backoff[0]:
		return fail("backoff: %v is not two ascending waits", c.Backoff)
	case len(c.Queues) > program.MaxQueues:
		return fail("queues: %d are more than %d", len(c.Queues), program.MaxQueues)
	case c.Mode == program.Queue && len(c.Queues) == 0:
		return fail("queues: queue mode needs the depths that queues were provisioned with")
	case c.Mode == program.Meter && c.Rate < 1:
		return fail("rate: meter mode needs the packets/s that the port serves, not %d", c.Rate)
	}
	for i, l := range c.Queues {
		if err := l.Check(); err != nil {
			return fail("queues: %w", err)
		}
		if slices.Contains(c.Queues[:i], l) {
			return fail("queues: %d stands twice", l)
		}
	}
	var err error
	if r.program, err = program.Load(c.Mode); err != nil {
		return fail("mode: %w", err)
	}
	info := &configv1.P4Info{}
	if err := prototext.Unmarshal(r.program.P4Info, info); err != nil {
		return fail("P4Info: %w", err)
	}
	r.names = &names{info}
	if c.Safe != 0 {
		if _, err := r.entry(0, c.Safe); err != nil {
			return fail("safe: %w", err)
		}
	}
	for _, p := range c.Ports {
		if p > 1<<9-1 {
			return fail("ports: %d has more than 9 bits", p)
		}
	}
	for i, e := range c.Entries {
		t, err := r.names.entry(e)
		if err != nil {
			return fail("entries[%d]: %w", i, err)
		}
		r.static = append(r.static, t)
	}
	for _, p := range c.Push {
		switch p {
		case "verify-and-commit":
			r.push = append(r.push, p4v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT)
		case "reconcile-and-commit":
			r.push = append(r.push, p4v1.SetForwardingPipelineConfigRequest_RECONCILE_AND_COMMIT)
		default:
			return fail(`push: %q is none of "verify-and-commit", "reconcile-and-commit"`, p)
		}
	}
	if c.TLS != nil {
		if r.creds, err = c.TLS.credentials(); err != nil {
			return fail("%w", err)
		}
	}
	return r, nil
}
