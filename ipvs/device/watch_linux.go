package device

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Watch tells of changes to addresses on all devices but kube-ipvs0, in the
// network namespace of the calling thread, until ctx ends; then the channel is
// closed. Several changes may be told as one. When changes were lost, that is
// told as a change.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	home, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	w := &watch{home: home, changed: make(chan struct{}, 1)}
	if w.links, err = netlink.NewHandleAt(home, syscall.NETLINK_ROUTE); err != nil {
		_ = home.Close()
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	updates, stop, err := w.subscribe()
	if err != nil {
		w.close()
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	go w.run(ctx, updates, stop)
	return w.changed, nil
}

type watch struct {
	home    netns.NsHandle
	links   *netlink.Handle
	changed chan struct{}
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
		w.tell()
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
			if !w.isOurs(u.LinkIndex) {
				w.tell()
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

func (w *watch) tell() {
	select {
	case w.changed <- struct{}{}:
	default: // there is one to be received already
	}
}

func (w *watch) close() {
	w.links.Close()
	_ = w.home.Close()
	close(w.changed)
}
