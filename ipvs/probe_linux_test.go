package ipvs_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A probedKernel obeys its context, as the real one does.
type probedKernel struct {
	*ipvstest.Kernel

	// done is called after each operation that was done; what it returns is the
	// answer.
	done func(ipvs.Op) error
}

func (k *probedKernel) Do(ctx context.Context, ops []ipvs.Op) (int, error) {
	for i, o := range ops {
		if ctx.Err() != nil {
			return i, ctx.Err()
		}
		_, err := k.Kernel.Do(ctx, []ipvs.Op{o})
		if err == nil && k.done != nil {
			err = k.done(o)
		}
		if err != nil {
			return i, err
		}
	}
	return len(ops), nil
}

// Whatever happens, the probe leaves nothing, and does not stumble over what
// another one has left.
func TestProbeLeavesNothing(t *testing.T) {
	all := []string{"rr", "mh"}
	for name, test := range map[string]struct {
		before []string
		done   func(o ipvs.Op, end func(), times int) error
		want   []string
		err    error
	}{
		"nothing in the way":           {want: all},
		"another one was killed":       {before: []string{"-A -t 198.51.100.1:1 -s lc"}, want: all},
		"it had real servers":          {before: []string{"-A -t 198.51.100.1:1 -s rr", "-a -t 198.51.100.1:1 -r 10.1.0.1:80 -m -w 1"}, want: all},
		"it ends half way":             {done: func(_ ipvs.Op, end func(), _ int) error { end(); return nil }, err: context.Canceled},
		"a good answer was lost":       {done: firstIs(syscall.EEXIST), want: all},
		"a good answer is always lost": {done: always(syscall.ENOBUFS), err: syscall.ENOBUFS},
	} {
		t.Run(name, func(t *testing.T) {
			kernel := &probedKernel{Kernel: ipvstest.New(proxier.IPv4)}
			kernel.Schedulers = append([]string{"lc"}, all...)
			kernel.Must(test.before...)
			kernel.Schedulers = all
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.done != nil {
				times := 0
				kernel.done = func(o ipvs.Op) error { times++; return test.done(o, cancel, times) }
			}
			available, err := ipvs.ProbeKernel(ctx, kernel)
			if !errors.Is(err, test.err) || !sameNames(available, test.want) {
				t.Errorf("available %v, error %v; want %v, %v", available, err, test.want, test.err)
			}
			if left := kernel.String(); left != "" {
				t.Errorf("left is\n%s", left)
			}
		})
	}
}

// firstIs answers the first operation with an error: it was made again, since the
// good answer was lost.
func firstIs(errno syscall.Errno) func(ipvs.Op, func(), int) error {
	return func(o ipvs.Op, _ func(), times int) error {
		if times == 1 {
			return &ipvs.OpError{Op: o, Errno: errno}
		}
		return nil
	}
}

// always answers so when a virtual server was made.
func always(errno syscall.Errno) func(ipvs.Op, func(), int) error {
	return func(o ipvs.Op, _ func(), _ int) error {
		if o.Kind == ipvs.NewService {
			return &ipvs.OpError{Op: o, Errno: errno}
		}
		return nil
	}
}

func sameNames(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
