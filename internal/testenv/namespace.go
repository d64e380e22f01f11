package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netns"
)

// netnsDir is where iproute2 and its relatives look for named namespaces. Ours
// have names so that a person can look into a stopped test with "ip netns exec".
const netnsDir = "/run/netns"

// namePrefix is by what a namespace is known to be ours: kpx-<pid>-<n>-<host>.
const namePrefix = "kpx-"

// namespace is one named network namespace.
type namespace struct {
	name   string
	handle netns.NsHandle
}

func newNamespace(name string) (*namespace, error) {
	var handle netns.NsHandle
	err := onThread(func() (err error) {
		handle, err = netns.NewNamed(name) // enters it, too
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create network namespace %s: %w", name, err)
	}
	return &namespace{name: name, handle: handle}, nil
}

func (n *namespace) path() string { return filepath.Join(netnsDir, n.name) }

// do calls f on a thread that is in the namespace.
func (n *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", n.name, err)
		}
		return f()
	})
}

func (n *namespace) close() error {
	return errors.Join(n.handle.Close(), netns.DeleteNamed(n.name))
}

// onThread calls f with the goroutine locked to its thread, and puts the thread
// back into the namespace it was in. A thread that cannot be put back stays
// locked, so that the runtime throws it away with the goroutine.
//
// It runs f on the caller's goroutine: a panic or t.FailNow in f unwinds as usual.
func onThread(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the network namespace of this thread: %w", err)
	}
	defer func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		_ = home.Close()
	}()
	return f()
}

// sweep deletes the namespaces of processes that are no more.
func sweep() error {
	paths, err := filepath.Glob(filepath.Join(netnsDir, namePrefix+"*"))
	if err != nil {
		return err
	}
	var failed []error
	for _, path := range paths {
		name := filepath.Base(path)
		pid, ok := ownerOf(name)
		if !ok || alive(pid) {
			continue
		}
		if err := remove(name); err != nil {
			failed = append(failed, fmt.Errorf("delete left over network namespace %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

// remove deletes a named namespace or what is left of it. Another suite may
// remove the same at the same time: gone is as good as deleted.
func remove(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, syscall.EINVAL) { // a file that nothing is mounted on
		err = os.Remove(filepath.Join(netnsDir, name))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// ownerOf tells the process that made the namespace called name; ok is false
// where name is not one of ours.
func ownerOf(name string) (pid int, ok bool) {
	rest, ours := strings.CutPrefix(name, namePrefix)
	if !ours {
		return 0, false
	}
	number, _, found := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(number)
	return pid, found && err == nil && pid > 0
}

func alive(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
