package p4rt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/planegym/planegym/p4"
	"github.com/planegym/planegym/p4/inventory"
	"github.com/planegym/planegym/p4/sim"
)

// pki writes an authority, and a certificate and key for each name, to a folder.
func pki(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var ca *x509.Certificate
	var caKey *ecdsa.PrivateKey
	for i, name := range append([]string{"ca"}, names...) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: i == 0, BasicConstraintsValid: true,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if i == 0 {
			ca, caKey = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, &key.PublicKey, caKey)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".pem", "CERTIFICATE", der)
		write(name+".key", "EC PRIVATE KEY", private)
	}
	return dir
}

func TestMutualTLS(t *testing.T) {
	dir, other := pki(t, "switch", "agent"), pki(t, "agent")
	file := func(name string) string { return filepath.Join(dir, name) }
	pair, err := tls.LoadX509KeyPair(file("switch.pem"), file("switch.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	text, err := os.ReadFile(file("ca.pem"))
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal("no authority", err)
	}
	s := serve(t, sim.Config{Credentials: credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})})
	for _, c := range []struct {
		name string
		tls  *inventory.TLS
		ok   bool
	}{
		{"mutual", &inventory.TLS{CA: file("ca.pem"), Cert: file("agent.pem"), Key: file("agent.key"), Name: "switch"}, true},
		{"without our certificate", &inventory.TLS{CA: file("ca.pem"), Name: "switch"}, false},
		{"another name", &inventory.TLS{CA: file("ca.pem"), Cert: file("agent.pem"), Key: file("agent.key"), Name: "router"}, false},
		{"another authority", &inventory.TLS{CA: filepath.Join(other, "ca.pem"), Cert: file("agent.pem"), Key: file("agent.key"), Name: "switch"}, false},
		{"a certificate of another authority", &inventory.TLS{CA: file("ca.pem"), Cert: filepath.Join(other, "agent.pem"), Key: filepath.Join(other, "agent.key"), Name: "switch"}, false},
		{"plain", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(s, sim.Strict)
			down := make(chan Event, 64)
			cfg.TLS, cfg.Notify = c.tls, func(e Event) { down <- e }
			l := start(t, cfg)
			select {
			case e := <-down:
				if (e.Kind == Up) != c.ok {
					t.Errorf("%+v", e)
				}
			case <-soon(t).Done():
				t.Fatal("nothing happened")
			}
			if c.ok {
				if err := l.SetLimit(t.Context(), 1, p4.Limit(32)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
