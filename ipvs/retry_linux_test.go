package ipvs

import (
	"context"
	"errors"
	"syscall"
	"testing"
)

// Calls that were interrupted, or whose answer was lost, are made again a few times;
// others are not.
func TestCallsAreMadeAgain(t *testing.T) {
	for name, test := range map[string]struct {
		answers []error // the last one again and again
		calls   int
		want    error
	}{
		"good":                    {[]error{nil}, 1, nil},
		"interrupted":             {[]error{syscall.EINTR, syscall.EINTR, nil}, 3, nil},
		"the answer was lost":     {[]error{syscall.ENOBUFS, nil}, 2, nil},
		"it had been good":        {[]error{syscall.ENOBUFS, syscall.EEXIST}, 2, syscall.EEXIST},
		"answers are always lost": {[]error{syscall.ENOBUFS}, attempts, syscall.ENOBUFS},
		"refused":                 {[]error{syscall.EPERM}, 1, syscall.EPERM},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			err := retry(t.Context(), func() error {
				calls++
				return test.answers[min(calls, len(test.answers))-1]
			})
			if !errors.Is(err, test.want) || calls != test.calls {
				t.Errorf("after %d calls: %v; want %v after %d", calls, err, test.want, test.calls)
			}
		})
	}
}

func TestNoCallIsMadeAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := retry(ctx, func() error { cancel(); return syscall.EINTR })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}
