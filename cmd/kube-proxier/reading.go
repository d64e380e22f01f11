package main

import (
	"context"
	"fmt"
)

// readUntil returns what read returns; or an error as soon as ctx ends, be it by a
// signal: a pipe that nobody writes to would be waited for without end. What reads it
// is left behind then, for the process to take along.
func readUntil[T any](ctx context.Context, what string, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ended := make(chan result, 1)
	go func() {
		value, err := read()
		ended <- result{value, err}
	}()
	select {
	case r := <-ended:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s was not read to its end: %w", what, context.Cause(ctx))
	}
}
