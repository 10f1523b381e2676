//go:build unix

package deploy

import "syscall"

// ownSession starts a process in a session of its own: the terminal's signals
// pass it by.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
