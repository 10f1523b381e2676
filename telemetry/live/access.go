package live

import (
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Access says whose reports or samples are taken. The zero value takes a
// report or sample of anyone who reaches the port, but none of a web page.
type Access struct {
	// Token is the secret that a player's POST carries, as "Authorization:
	// Bearer TOKEN" or as the query's token; "": none is wanted. Reports over
	// UDP carry none.
	Token string
	// From are the addresses that may send; nil: all.
	From []netip.Prefix
	// Origins are the web pages, https://host, that may post without a token.
	// Any page that somebody opens beside the player can post to this port, so
	// a request of a page that is not named here must carry the token.
	Origins []string
}

// ParseFrom reads addresses and prefixes: "10.0.0.7", "10.0.0.0/24".
func ParseFrom(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, e := netip.ParseAddr(s)
			if e != nil {
				return nil, fmt.Errorf("from: %q is neither an address nor a prefix like 10.0.0.0/24", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}

// from says whether an address may send.
func (a Access) from(addr net.Addr) bool {
	if a.From == nil {
		return true
	}
	p, err := netip.ParseAddrPort(addr.String())
	return err == nil && a.contains(p.Addr())
}

func (a Access) contains(addr netip.Addr) bool {
	addr = addr.Unmap()
	return slices.ContainsFunc(a.From, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// refuse says why a POST is not taken: 0 where it is.
func (a Access) refuse(r *http.Request) (code int, why string) {
	if a.From != nil {
		p, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !a.contains(p.Addr()) {
			return http.StatusForbidden, fmt.Sprintf("live: player: %s is not one of the addresses in player.from", r.RemoteAddr)
		}
	}
	if a.Token != "" {
		got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			got = r.URL.Query().Get("token")
		}
		if subtle.ConstantTimeCompare([]byte(got), []byte(a.Token)) != 1 {
			return http.StatusUnauthorized, "live: player: the token is missing or wrong: player.token of the scenario"
		}
		return 0, ""
	}
	if o := r.Header.Get("Origin"); o != "" && !slices.Contains(a.Origins, o) {
		return http.StatusForbidden, fmt.Sprintf("live: player: a page of %s may not post: name it in player.origins, or set player.token", o)
	}
	return 0, ""
}

// allow sets the header by which a browser lets a page read the answer.
func (a Access) allow(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Origin")
	if o := r.Header.Get("Origin"); o != "" && (a.Token != "" || slices.Contains(a.Origins, o)) {
		w.Header().Set("Access-Control-Allow-Origin", o)
	}
}
