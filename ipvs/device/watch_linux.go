package device

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Changes tell that addresses came or went. Several may be told as one, and
// when some were lost, that is told as a change of both.
type Changes struct {
	// Others receives for all devices but kube-ipvs0, and Bound for that one, whoever
	// changed it.
	Others, Bound <-chan struct{}
}

// Watch tells of changes to addresses in the network namespace of the calling
// thread, until ctx ends; then both channels are closed.
func Watch(ctx context.Context) (Changes, error) {
	home, err := foreignHome()
	if err != nil {
		return Changes{}, fmt.Errorf("watch addresses: %w", err)
	}
	w := &watch{home: home, others: make(chan struct{}, 1), bound: make(chan struct{}, 1)}
	if w.links, err = netlink.NewHandleAt(home, syscall.NETLINK_ROUTE); err != nil {
		w.leaveHome()
		return Changes{}, fmt.Errorf("watch addresses: %w", err)
	}
	updates, stop, err := w.subscribe()
	if err != nil {
		w.close()
		return Changes{}, fmt.Errorf("watch addresses: %w", err)
	}
	go w.run(ctx, updates, stop)
	return Changes{Others: w.others, Bound: w.bound}, nil
}

// foreignHome is the calling thread's network namespace if it is not the
// process's, and none if it is: entering even one's own takes CAP_SYS_ADMIN.
func foreignHome() (netns.NsHandle, error) {
	thread, err := netns.Get()
	if err != nil {
		return netns.None(), err
	}
	process, err := netns.GetFromPid(os.Getpid())
	if err != nil {
		_ = thread.Close()
		return netns.None(), err
	}
	defer func() { _ = process.Close() }()
	if thread.Equal(process) {
		return netns.None(), thread.Close()
	}
	return thread, nil
}

type watch struct {
	// home is where subscriptions are made; none is where every thread is.
	home          netns.NsHandle
	links         *netlink.Handle
	others, bound chan struct{}
	// ours is the index of kube-ipvs0, as far as it is known.
	ours int
}

// receiveBuffer, in bytes, holds some thousand changes: our own to kube-ipvs0
// come by, too.
const receiveBuffer = 1 << 20

func (w *watch) subscribe() (<-chan netlink.AddrUpdate, chan struct{}, error) {
	updates, stop := make(chan netlink.AddrUpdate, 64), make(chan struct{})
	err := netlink.AddrSubscribeWithOptions(updates, stop, netlink.AddrSubscribeOptions{
		Namespace: &w.home, ReceiveBufferSize: receiveBuffer,
	})
	return updates, stop, err
}

// run passes changes on. A subscription that ends, as it does when its buffer
// overflows, is made anew.
func (w *watch) run(ctx context.Context, updates <-chan netlink.AddrUpdate, stop chan struct{}) {
	defer w.close()
	const pause = time.Second
	for {
		w.pass(ctx, updates)
		close(stop)
		go drain(updates)
		for {
			if ctx.Err() != nil {
				return
			}
			var err error
			if updates, stop, err = w.subscribe(); err == nil {
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
		tell(w.others)
		tell(w.bound)
	}
}

// drain lets the library's goroutine end, which may be about to send.
func drain(updates <-chan netlink.AddrUpdate) {
	for range updates {
	}
}

func (w *watch) pass(ctx context.Context, updates <-chan netlink.AddrUpdate) {
	for {
		select {
		case <-ctx.Done():
			return
		case u, ok := <-updates:
			if !ok {
				return
			}
			if w.isOurs(u.LinkIndex) {
				tell(w.bound)
			} else {
				tell(w.others)
			}
		}
	}
}

// isOurs reports whether a device is kube-ipvs0. Its index is asked for once.
func (w *watch) isOurs(index int) bool {
	if index != w.ours {
		link, err := w.links.LinkByIndex(index)
		if err != nil || link.Attrs().Name != Name {
			return false
		}
		w.ours = index
	}
	return true
}

func tell(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default: // there is one to be received already
	}
}

func (w *watch) close() {
	w.links.Close()
	w.leaveHome()
	close(w.others)
	close(w.bound)
}

func (w *watch) leaveHome() {
	if w.home.IsOpen() {
		_ = w.home.Close()
	}
}
