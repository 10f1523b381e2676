//go:build unix

package serving

import (
	"net"
	"os"
	"syscall"
)

// listenUnix listens at a unix socket that has its mode from the first moment on:
// the process's umask would leave it open to others until it was changed. It runs
// before anything else of the process makes files.
func listenUnix(path string, mode os.FileMode) (net.Listener, error) {
	was := syscall.Umask(0o777 &^ int(mode))
	l, err := net.Listen("unix", path)
	syscall.Umask(was)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil { // where the system ignores the umask
		l.Close()
		return nil, err
	}
	return l, nil
}
