// Package p4rt sets queue limits over P4Runtime 1.5. Its client stays primary
// through cut connections, restarts and rival controllers, and restores what a
// switch has lost.
package p4rt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"os"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/planegym/planegym/internal/rng"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/program"
)

// Election is a 128-bit election id; see inventory.Election.
type Election = inventory.Election

func toProto(e Election) *p4v1.Uint128 { return &p4v1.Uint128{High: e.High, Low: e.Low} }

func fromProto(e *p4v1.Uint128) Election { return Election{High: e.GetHigh(), Low: e.GetLow()} }

// credentialsOf reads the PEM files of t.
func credentialsOf(t inventory.TLS) (credentials.TransportCredentials, error) {
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

// Config is a switch of an inventory and what its client is for.
type Config struct {
	inventory.Switch
	// Backup holds a stream and waits: Election is sent once, nothing is
	// claimed again, pushed or put back until Arbitrate. Where Election is zero
	// it is left unset, or, of a switch that lets one client have no id, as
	// BMv2 does, random and below Below.
	Backup bool
	Below  Election // zero: inventory.DefaultElection
	Seed   uint64   // of the backoff's jitter and of random ids: different per client

	// Provision gives the switch's queues their depths and rates. It is called
	// after every push and reconnect, before a limit is put back; nil: nothing
	// can, and after a restart the limits in force are unknown.
	Provision func(ctx context.Context) error

	Notify func(Event) // must not block
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

// first is the election id that a client sends first, or, taken times, after it
// heard that its id is another client's; nil where it is unset.
func (r *resolved) first(taken uint32) *p4v1.Uint128 {
	switch {
	case r.Election != (Election{}):
		return toProto(r.Election)
	case taken == 0:
		return nil
	}
	// Uniform in 1…Below-1, 0 where there is none.
	span := r.Below.Low
	if r.Below.High > 0 {
		span = math.MaxUint64
	}
	if span < 2 {
		return toProto(Election{})
	}
	u := rng.Key{Seed: r.Seed, A: 2, Purpose: rng.Backoff}.Float64(taken)
	return toProto(Election{Low: 1 + uint64(u*float64(span-1))})
}

// Check reports the first thing wrong with c, naming the field; it reads the
// files of TLS.
func (c Config) Check() error {
	_, err := c.resolve()
	return err
}

func (c Config) resolve() (*resolved, error) {
	fail := func(format string, args ...any) (*resolved, error) {
		return nil, fmt.Errorf("p4rt: "+format, args...)
	}
	election := c.Election
	if c.Switch = c.WithDefaults(); c.Backup {
		c.Election = election
	}
	if c.Below == (Election{}) {
		c.Below = inventory.DefaultElection
	}
	if err := c.Switch.Check(); err != nil {
		return fail("%w", err)
	}
	r := &resolved{Config: c, creds: insecure.NewCredentials()}
	var err error
	if r.program, err = program.Load(c.Mode); err != nil {
		return fail("mode: %w", err)
	}
	n, err := program.ParseNames(r.program.P4Info)
	if err != nil {
		return nil, err
	}
	r.names = &names{n}
	for i, e := range c.Entries {
		t, err := r.names.entry(e)
		if err != nil {
			return fail("entries[%d]: %w", i, err)
		}
		r.static = append(r.static, t)
	}
	for _, p := range c.Push {
		if p == "reconcile-and-commit" {
			r.push = append(r.push, p4v1.SetForwardingPipelineConfigRequest_RECONCILE_AND_COMMIT)
		} else {
			r.push = append(r.push, p4v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT)
		}
	}
	if c.TLS != nil {
		if r.creds, err = credentialsOf(*c.TLS); err != nil {
			return fail("%w", err)
		}
	}
	return r, nil
}
