package ws

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// minToken is the fewest bytes of a token that may guard a server.
const minToken = 16

// Tokens are the bearer tokens that a server lets in. Only their digests are
// kept, and comparing takes the same time for every guess.
type Tokens struct {
	path string

	mu      sync.RWMutex
	digests [][sha256.Size]byte
}

// ReadTokens reads a file of tokens, one a line; blank lines and those that
// start with # are skipped.
func ReadTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	return t, t.Reload()
}

// Reload reads the file again. With an error the tokens stay what they were.
func (t *Tokens) Reload() error {
	b, err := os.ReadFile(t.path)
	if err != nil {
		return fmt.Errorf("ws: tokens: %w", err)
	}
	var digests [][sha256.Size]byte
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#':
			continue
		case len(line) < minToken:
			return fmt.Errorf("ws: tokens: %s: line %d: a token of %d characters, want at least %d", t.path, n, len(line), minToken)
		case strings.ContainsAny(line, " \t"):
			return fmt.Errorf("ws: tokens: %s: line %d: a token has no blanks", t.path, n)
		}
		digests = append(digests, sha256.Sum256([]byte(line)))
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("ws: tokens: %s: %w", t.path, err)
	}
	if len(digests) == 0 {
		return fmt.Errorf("ws: tokens: %s: no token in it, want one a line", t.path)
	}
	t.mu.Lock()
	t.digests = digests
	t.mu.Unlock()
	return nil
}

// allow says whether token is one of t.
func (t *Tokens) allow(token string) bool { return t.has(sha256.Sum256([]byte(token))) }

// has says whether d is the digest of one of t.
func (t *Tokens) has(d identity) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	found := 0
	for i := range t.digests {
		found |= subtle.ConstantTimeCompare(d[:], t.digests[i][:])
	}
	return found == 1
}

const (
	ticketFor  = 30 * time.Second
	maxTickets = 1024
)

// identity is who a connection is of: the digest of its bearer token, or of its
// client certificate. The zero identity is any client of a server that asks for
// neither.
type identity [sha256.Size]byte

// String is the identity in hexadecimal, "" for the zero identity.
func (i identity) String() string {
	if i == (identity{}) {
		return ""
	}
	return hex.EncodeToString(i[:])
}

// tickets let a browser in, which cannot set the Authorization of an upgrade:
// it fetches one with its token and says it in its first message.
type tickets struct {
	mu  sync.Mutex
	out map[[sha256.Size]byte]ticketOf
}

// ticketOf is whom a ticket was given to, and until when it holds.
type ticketOf struct {
	who   identity
	until time.Time
}

// give makes a ticket; ok is false while too many are out.
func (t *tickets) give(who identity, now time.Time) (ticket string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, of := range t.out {
		if now.After(of.until) {
			delete(t.out, k)
		}
	}
	if len(t.out) >= maxTickets {
		return "", false
	}
	if t.out == nil {
		t.out = map[[sha256.Size]byte]ticketOf{}
	}
	ticket = newID()
	t.out[sha256.Sum256([]byte(ticket))] = ticketOf{who, now.Add(ticketFor)}
	return ticket, true
}

// take uses a ticket up, and says whose it was.
func (t *tickets) take(ticket string, now time.Time) (who identity, ok bool) {
	k := sha256.Sum256([]byte(ticket))
	t.mu.Lock()
	defer t.mu.Unlock()
	of, ok := t.out[k]
	delete(t.out, k)
	return of.who, ok && !now.After(of.until)
}

// authorize refuses a request whose token is missing or wrong, and says who sent
// it. With needTicket true the connection is to be upgraded, and its first message
// must hold a ticket, which says who it is.
func (s *Server) authorize(r *http.Request) (who identity, needTicket bool, err error) {
	if s.opts.Tokens == nil {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			who = sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		}
		return who, false, nil
	}
	h := r.Header.Get("Authorization")
	switch token, ok := cutPrefixFold(h, "Bearer "); {
	case ok && s.opts.Tokens.allow(token):
		return sha256.Sum256([]byte(token)), false, nil
	case h != "":
		return who, false, fmt.Errorf("%w: this token is not accepted here", ErrUnauthorized)
	case r.Header.Get("Origin") != "" && r.URL.Path == Path:
		return who, true, nil
	}
	return who, false, fmt.Errorf("%w: this server wants a token: send Authorization: Bearer TOKEN (a browser asks POST %s for a ticket)", ErrUnauthorized, ticketPath)
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// checkHost refuses a request for a name that anyone's DNS may point here, where
// no token is asked for: a page under that name could read the answer. Names that
// no one else can claim, and those of allowed pages, are fine.
func (s *Server) checkHost(r *http.Request) error {
	if s.opts.Tokens != nil || safeHost(r.Host) {
		return nil
	}
	for _, o := range s.opts.Origins {
		if u, err := url.Parse(o); err == nil && strings.EqualFold(u.Host, r.Host) {
			return nil
		}
	}
	return fmt.Errorf("%w: Host %q: without a token only an IP address, localhost, and hosts of allowed origins may read this", ErrUnauthorized, r.Host)
}

// safeHost says whether a Host header is an IP address or localhost.
func safeHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.EqualFold(host, "localhost") || net.ParseIP(host) != nil
}

// guard lets a request through to what describes the server and its sessions.
func (s *Server) guard(r *http.Request) error {
	if err := s.checkHost(r); err != nil {
		return err
	}
	if err := s.checkOrigin(r); err != nil {
		return err
	}
	_, _, err := s.authorize(r)
	return err
}

// checkOrigin refuses a web page that is not on the list, or on an empty one
// not ours. Only browsers send an Origin.
func (s *Server) checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.ContainsFunc(s.opts.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
		return nil
	}
	// A name that a stranger's DNS points here has the stranger's page come
	// from "our" host, so without a token only names that no stranger can claim count.
	u, err := url.Parse(origin)
	if err == nil && strings.EqualFold(u.Host, r.Host) && (s.opts.Tokens != nil || u.Hostname() == "localhost" || net.ParseIP(u.Hostname()) != nil) {
		return nil
	}
	return fmt.Errorf("%w: pages of %q may not connect (server option: allowed origins)", ErrUnauthorized, origin)
}

const ticketPath = "/v1/ticket"

// ticket answers POST /v1/ticket.
func (s *Server) ticket(w http.ResponseWriter, r *http.Request) {
	if err := s.checkOrigin(r); err != nil {
		s.refuse(w, http.StatusForbidden, err)
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Headers", "Authorization")
		w.Header().Set("Vary", "Origin")
	}
	switch r.Method {
	case http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodPost:
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		s.refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("%w: %s is for POST", ErrBadFrame, ticketPath))
		return
	}
	who, _, err := s.authorize(r)
	if err != nil {
		s.refuse(w, http.StatusUnauthorized, err)
		return
	}
	ticket, ok := s.tickets.give(who, time.Now())
	if !ok {
		s.refuse(w, http.StatusServiceUnavailable, fmt.Errorf("%w: %d tickets are unused", ErrCapacity, maxTickets))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, `{"ticket":%q,"seconds":%d}`+"\n", ticket, int(ticketFor.Seconds()))
}
