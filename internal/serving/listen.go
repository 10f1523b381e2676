// Package serving runs a server of environments: its listeners, the recorder of its
// episodes, the pages of its scenarios, and how it ends.
package serving

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"
)

// TLS is the configuration of a server with a certificate chain and its key, PEM files,
// and, unless it is "", of one whose clients must have a certificate that clientCA signed.
func TLS(cert, key, clientCA string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	// A browser would rather have HTTP/2, which gorilla cannot upgrade from.
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if clientCA != "" {
		b, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, fmt.Errorf("--client-ca: %w", err)
		}
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !c.ClientCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("--client-ca: %s has no certificate", clientCA)
		}
	}
	return c, nil
}

// ListenUnix opens a socket at path with a file mode. What a killed server left there is
// replaced; a running one's is not.
func ListenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("a server listens at %s", path)
	} else if st, err := os.Stat(path); err == nil && st.Mode().Type() == os.ModeSocket {
		_ = os.Remove(path)
	}
	return listenUnix(path, mode)
}

// Reachable is an address that a client can copy: of a server that listens at
// every address of the machine, the first that is not loopback.
func Reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	host := "127.0.0.1"
	addrs, err := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); err == nil && ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			host = ip.IP.String()
			break
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}
