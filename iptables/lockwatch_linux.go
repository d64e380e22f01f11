package iptables

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A lockWatch tells whether a program of iptables-legacy has run: each locks a
// file while it reads or writes, which is the same for all network namespaces. A
// program that has another file there, or none, goes unnoticed.
type lockWatch struct {
	path  string
	queue int // of inotify(7)
	// watching is whether the file is watched; it may not be there yet.
	watching bool
}

// lockFile is where iptables-legacy and its variable for tests have it.
func lockFile() string { return cmp.Or(os.Getenv("XTABLES_LOCKFILE"), "/run/xtables.lock") }

func watchLock(path string) (*lockWatch, error) {
	queue, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	l := &lockWatch{path: path, queue: queue}
	l.released()
	return l, nil
}

// released reports whether somebody has given the lock back since it was asked
// last, or may have: that is when what they wrote is in force.
func (l *lockWatch) released() bool {
	events := false
	buffer := make([]byte, 4096)
	for {
		n, err := unix.Read(l.queue, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		events = true
	}
	// A file that was removed is watched no more; adding it again is no second
	// watch.
	if events || !l.watching {
		_, err := unix.InotifyAddWatch(l.queue, l.path, unix.IN_CLOSE|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF)
		events = events || err == nil
		l.watching = err == nil
	}
	return events
}

func (l *lockWatch) close() error { return unix.Close(l.queue) }
