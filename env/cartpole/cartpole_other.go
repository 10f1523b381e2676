//go:build !amd64

package cartpole

import (
	"github.com/planegym/planegym/env"
)

func pushesAll() bool { return false }

func pushAll([]pose, []int32, *env.Batch) { panic("env: there is no pushAll") }
