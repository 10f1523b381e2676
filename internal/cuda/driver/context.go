package driver

import "context"

type newKey struct{}

// With returns a context in which From returns what newDriver makes: how a
// program has its commands use another binding than this package's.
func With(ctx context.Context, newDriver func() Driver) context.Context {
	return context.WithValue(ctx, newKey{}, newDriver)
}

// From returns a driver as the context has them, New's where it says nothing.
func From(ctx context.Context) Driver {
	if f, ok := ctx.Value(newKey{}).(func() Driver); ok {
		return f()
	}
	return New()
}
