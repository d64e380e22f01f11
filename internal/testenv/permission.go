package testenv

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// WithoutNetAdmin calls f with a thread that may not administer the network, as
// where a container lacks the capability NET_ADMIN. f must not lock or unlock the
// thread, nor leave it.
func WithoutNetAdmin(f func() error) error {
	return onThread(func() (err error) {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var all, fewer [2]unix.CapUserData
		if err := unix.Capget(&header, &all[0]); err != nil {
			return fmt.Errorf("read this thread's capabilities: %w", err)
		}
		fewer = all
		fewer[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &fewer[0]); err != nil {
			return fmt.Errorf("give up NET_ADMIN: %w", err)
		}
		defer func() { err = errors.Join(err, unix.Capset(&header, &all[0])) }()
		return f()
	})
}
