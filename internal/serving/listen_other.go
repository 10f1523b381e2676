//go:build !unix

package serving

import (
	"net"
	"os"
)

// listenUnix listens at a unix socket; who may connect is the system's to say.
func listenUnix(path string, _ os.FileMode) (net.Listener, error) { return net.Listen("unix", path) }
