//go:build !amd64

package env

func pushesAll() bool { return false }

func pushAll([]pose, []int32, *Batch) { panic("env: there is no pushAll") }
