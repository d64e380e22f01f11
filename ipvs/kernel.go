package ipvs

import (
	"context"
	"fmt"
	"slices"
	"syscall"
)

// Kernel is the way to the real virtual servers of one IP family. All reads and
// writes of the Dataplane go through it.
type Kernel interface {
	// List returns the virtual servers at these places, as far as they are
	// there, or without places all of the family. Virtual servers known by a
	// firewall mark are not among them.
	List(ctx context.Context, only ...Place) (Listing, error)
	// ListServices returns all virtual servers of the family that List would, in the
	// same order, without their real servers.
	ListServices(ctx context.Context) ([]*VirtualServer, error)
	// Do does the operations in order, until one fails, and returns how many
	// were done. The error is an *OpError where the kernel answered.
	Do(ctx context.Context, ops []Op) (done int, err error)
}

// An OpError is the kernel's answer to an Op it did not do.
type OpError struct {
	Op    Op
	Errno syscall.Errno
}

const needsPermission = "root or the capability NET_ADMIN is needed"

// Error names the operation and the kernel's reason.
func (e *OpError) Error() string {
	reason := e.Errno.Error()
	switch {
	case e.Refused() && e.Op.OnService() && e.Errno == syscall.ENOENT:
		reason = fmt.Sprintf("the kernel has no scheduler %q: load the module ip_vs_%[1]s", e.Op.Settings.Scheduler)
	case e.Errno == syscall.EPERM:
		reason += ": " + needsPermission
	}
	return fmt.Sprintf("ipvs: %q: %s", e.Op.String(), reason)
}

// Unwrap is the errno.
func (e *OpError) Unwrap() error { return e.Errno }

// Drift reports whether the kernel does not hold what it was believed to hold:
// what is to be made is there already, or what is to be changed or deleted is
// not. ESRCH is the kernel's word for a virtual server that is not there,
// ENOENT for a real server.
func (e *OpError) Drift() bool {
	switch e.Errno {
	case syscall.EEXIST:
		return e.Op.Kind == NewService || e.Op.Kind == NewServer
	case syscall.ESRCH:
		return true
	case syscall.ENOENT:
		return !e.Op.OnService()
	default:
		return false
	}
}

// Refused reports whether the kernel does not like what the Op asks for, as
// opposed to not being able to work at all. ENOENT for a virtual server means
// its scheduler.
func (e *OpError) Refused() bool {
	return slices.Contains([]syscall.Errno{
		syscall.EINVAL, syscall.ERANGE, syscall.EOPNOTSUPP, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.EFAULT,
	}, e.Errno) || e.Errno == syscall.ENOENT && e.Op.OnService()
}
