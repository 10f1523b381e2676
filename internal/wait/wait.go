// Package wait waits, unless a context ends first.
package wait

import (
	"context"
	"time"
)

// For waits for d; the error is the context's, where that ends first, or has
// ended when there is nothing to wait for.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
