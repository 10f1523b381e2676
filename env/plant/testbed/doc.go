// Package testbed is a packet-level, discrete-event emulation of the
// tutorial's testbed: a DASH server, three BMv2 switches in line, a player,
// and the traffic they share the queues with. Every queue limit may change at
// run time and everything reacts to it; a run is a pure function of its
// configuration, its seed and the limits it was given.
//
// Time is in nanoseconds, sequence numbers in whole segments. See DESIGN.md
// for what was measured against which source, and for what is left out.
package testbed
