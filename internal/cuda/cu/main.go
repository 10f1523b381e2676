// Command cu is planegym with gorgonia.org/cu as its binding to the CUDA
// driver. It needs cgo and CUDA's headers to build, and a GPU to start: see
// README.md. Everything else is internal/cli's.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/planegym/planegym/internal/cli"
	"github.com/planegym/planegym/internal/cuda/driver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx = driver.With(ctx, func() driver.Driver { return &binding{Driver: driver.New()} })
	code := cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
