// Package p4 defines queue limits, in packets, and the interface through which
// a program sets them on switches.
package p4

import "fmt"

// Limit is the capacity of one egress queue in packets. It is not an action:
// an action is an index into a list of limits (see env.Spec).
type Limit int32

// MaxLimit is the largest limit accepted: enq_qdepth is a 19-bit field in the
// v1model telemetry (standard_metadata.enq_qdepth).
const MaxLimit Limit = 1<<19 - 1

// Check reports a limit that no queue can have.
func (l Limit) Check() error {
	if l < 1 || l > MaxLimit {
		return fmt.Errorf("p4: limit %d is outside 1…%d packets", int32(l), int32(MaxLimit))
	}
	return nil
}
