package deploy

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ExamineClock says whether a time service synchronises the kernel's clock:
// reports of several machines are joined by their times.
func ExamineClock() Finding {
	f := Finding{Switch: "here", Check: "clock"}
	var t unix.Timex
	if state, err := unix.Adjtimex(&t); err != nil {
		f.Level, f.Says = Warning, fmt.Sprintf("its state is not known: %v", err)
	} else if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		f.Level, f.Says = Warning, "no time service keeps this machine's clock"
		f.Mend = []string{"start chrony, ntpd or systemd-timesyncd; offsets of players and switches that drift slowly are taken out as they come in"}
	} else {
		f.Level, f.Says = OK, fmt.Sprintf("kept by a time service, to within %d µs", t.Maxerror)
	}
	return f
}
