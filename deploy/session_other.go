//go:build !unix

package deploy

import "syscall"

func ownSession() *syscall.SysProcAttr { return nil }
