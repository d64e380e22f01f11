package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// probed is where schedulers are tried: at an address for documentation (RFC
// 5737) that nothing leads to. Whatever is there is a probe's.
var probed = Place{Protocol: corev1.ProtocolTCP, Addr: netip.MustParseAddrPort("198.51.100.1:1")} //nolint:gochecknoglobals // a constant

// Probe finds out which schedulers the kernel has by making a virtual server
// with each, in a network namespace that is gone afterwards; the kernel loads
// its modules as needed. Where no namespace may be made, the virtual servers
// are made in this one, one after the other, and deleted at once.
func Probe(ctx context.Context) ([]string, error) {
	var available []string
	try := func() error {
		n, err := Open(proxier.IPv4)
		if err != nil {
			return err
		}
		defer n.Close()
		available, err = probe(ctx, n)
		return err
	}
	err := inNewNamespace(try)
	if errors.Is(err, errNoNamespace) {
		err = try()
	}
	if err != nil {
		return nil, fmt.Errorf("probe IPVS schedulers: %w", err)
	}
	return available, nil
}

// probe tries each scheduler.
func probe(ctx context.Context, kernel Kernel) ([]string, error) {
	var available []string
	for _, scheduler := range proxier.Schedulers {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err := tryScheduler(context.WithoutCancel(ctx), kernel, scheduler) // what is made is deleted
		e, ok := errors.AsType[*OpError](err)
		switch {
		case err == nil:
			available = append(available, scheduler)
		case ok && e.Op.Kind == NewService && e.Errno == syscall.ENOENT: // this is what the question was
		default:
			return nil, err
		}
	}
	return available, nil
}

// tryScheduler makes a virtual server and deletes it, also when making it failed:
// the lost answer may have been a good one. One that was there already says nothing
// about the scheduler: it is from a probe that was killed, or is under way.
func tryScheduler(ctx context.Context, kernel Kernel, scheduler string) error {
	var err error
	for range attempts {
		_, err = kernel.Do(ctx, []Op{{Kind: NewService, Place: probed, Settings: Settings{Scheduler: scheduler}}})
		_, left := kernel.Do(ctx, []Op{{Kind: DeleteService, Place: probed}})
		if left != nil && !errors.Is(left, syscall.ESRCH) { // which is: there is none
			return left
		}
		if !errors.Is(err, syscall.EEXIST) {
			return err
		}
	}
	return err
}

var errNoNamespace = errors.New("may not make a network namespace")

// inNewNamespace calls f on a thread in a new network namespace. The goroutine
// never unlocks the thread, so that the runtime throws it away, and with it the
// namespace. It keeps the process's first thread in any case, whose namespace
// others take for the process's: while that is held, another goroutine is on
// another thread.
func inNewNamespace(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- inNewNamespace(f)
			return
		}
		handle, err := netns.New()
		if err != nil {
			done <- fmt.Errorf("%w: %w", errNoNamespace, err)
			return
		}
		err = f()
		_ = handle.Close()
		done <- err
	}()
	return <-done
}
