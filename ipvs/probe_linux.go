package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"

	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Probe finds out which schedulers the kernel has by making a virtual server
// with each, in a network namespace that is gone afterwards; the kernel loads
// its modules as needed. Where no namespace may be made, the virtual servers
// are made in this one, one after the other, at an address for documentation
// (RFC 5737) that nothing leads to, and deleted at once.
func Probe(ctx context.Context) ([]string, error) {
	var available []string
	try := func() error {
		n, err := Open(proxier.IPv4)
		if err != nil {
			return err
		}
		defer n.Close()
		available, err = n.probe(ctx)
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
func (n *Netlink) probe(ctx context.Context) ([]string, error) {
	place := Place{Protocol: corev1.ProtocolTCP, Addr: netip.MustParseAddrPort("198.51.100.1:1")}
	var available []string
	for _, scheduler := range proxier.Schedulers {
		_, err := n.Do(ctx, []Op{
			{Kind: NewService, Place: place, Settings: Settings{Scheduler: scheduler}},
			{Kind: DeleteService, Place: place},
		})
		e, ok := errors.AsType[*OpError](err)
		switch {
		case err == nil:
			available = append(available, scheduler)
		case ok && e.Op.Kind == NewService && e.Errno == syscall.ENOENT: // this is what the question was
		case ok && e.Errno == syscall.EEXIST:
			return nil, fmt.Errorf("a virtual server at %s is left over: delete it with ipvsadm -D %[1]s", place)
		default:
			return nil, err
		}
	}
	return available, nil
}

var errNoNamespace = errors.New("may not make a network namespace")

// inNewNamespace calls f on a thread in a new network namespace. The goroutine
// never unlocks the thread, so that the runtime throws it away, and with it the
// namespace.
func inNewNamespace(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
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
