package cartpole

import (
	"golang.org/x/sys/cpu"

	"github.com/planegym/planegym/env"
)

// pushesAll says whether this machine has pushAll.
func pushesAll() bool { return cpu.X86.HasAVX2 && cpu.X86.HasFMA }

// pushAll is push, observe and Terminated for carts whose number is a multiple of four and whose
// poles are within sinCosRange: operation for operation what those do, four carts at a time. What
// it makes of other poles, NaN included, is of no use and does no harm.
func pushAll(carts []pose, actions []int32, out *env.Batch) {
	if len(carts) > 0 {
		pushAVX2(&pushConstants, &carts[0], &actions[0], &out.Obs[0], &out.Terminated[0], len(carts)/4)
	}
}

// pushConstants are the operands of pushAVX2, in the order it names them.
var pushConstants = [...]float64{
	forceMagnitude, 2 * forceMagnitude, poleMassLength, totalMass, gravity, massPole, 4.0 / 3.0, poleHalfLength, tau, xThreshold, thetaThreshold,
	1, .5, sixth, sixthLow,
	1307674368000, 1 / 6227020800., -1 / 39916800., 1 / 362880., -1 / 5040., 1 / 120.,
	20922789888000, -1 / 87178291200., 1 / 479001600., -1 / 3628800., 1 / 40320., -1 / 720., 1 / 24.,
}

// pushAVX2 pushes 4·groups carts. The memory behind the pointers is as long as those need.
//
//go:noescape
func pushAVX2(constants *[28]float64, carts *pose, actions *int32, obs *float32, terminated *bool, groups int)
