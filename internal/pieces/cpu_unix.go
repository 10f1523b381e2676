//go:build unix

package pieces

import "syscall"

// CPU is the seconds of processor time that this process has used: what a piece
// costs on a machine that others use as well.
func CPU() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}
