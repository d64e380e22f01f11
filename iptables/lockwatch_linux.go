package iptables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A lockWatch tells whether a program of iptables-legacy has run: each locks a
// file while it reads or writes, which is the same for all network namespaces. A
// program that has another file there, or none, goes unnoticed.
type lockWatch struct {
	path  string
	queue *os.File // of inotify(7)
	fd    int      // the queue's, to read without waiting
	// changed receives when somebody may have given back the lock.
	changed chan struct{}
	// looked is when wait returned last because of the lock.
	looked time.Time

	mu sync.Mutex
	// events is whether there were any that released did not tell yet.
	events bool
	// watching is whether the file is watched; it may not be there yet.
	watching bool
}

// lockFile is where iptables-legacy and its variable for tests have it.
func lockFile() string { return cmp.Or(os.Getenv("XTABLES_LOCKFILE"), "/run/xtables.lock") }

func watchLock(path string) (*lockWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	l := &lockWatch{path: path, queue: os.NewFile(uintptr(fd), "inotify"), fd: fd, changed: make(chan struct{}, 1)}
	raw, err := l.queue.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", path, err), l.close())
	}
	go l.listen(raw)
	l.released()
	return l, nil
}

// listen tells of events until the queue is closed.
func (l *lockWatch) listen(queue syscall.RawConn) {
	for queue.Read(func(uintptr) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		found := l.drain()
		l.events = l.events || found
		return found
	}) == nil {
		select {
		case l.changed <- struct{}{}:
		default: // there is one to be received already
		}
	}
}

// drain empties the queue, and reports whether there was something in it. mu is held.
func (l *lockWatch) drain() bool {
	found := false
	buffer := make([]byte, 4096)
	for {
		n, err := unix.Read(l.fd, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return found
		}
		found = true
	}
}

// lockPause lies at least between two looks because of the lock: there are programs
// that write without end.
const lockPause = 50 * time.Millisecond

// wait returns when somebody may have given back the lock, or it is time to look in
// any case; false when ctx ends.
func (l *lockWatch) wait(ctx context.Context, tick <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-tick:
		return true
	case <-l.changed:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Until(l.looked.Add(lockPause))):
		l.looked = time.Now()
		return true
	}
}

// released reports whether somebody has given the lock back since it was asked
// last, or may have: that is when what they wrote is in force.
func (l *lockWatch) released() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.drain() || l.events
	l.events = false
	// A file that was removed is watched no more; adding it again is no second
	// watch.
	if events || !l.watching {
		l.watching = l.follow()
		events = events || l.watching
	}
	return events
}

// follow watches the file, or as long as there is none its folder, once, since who
// needs it makes it. It reports whether there is one.
func (l *lockWatch) follow() bool {
	add := func(path string, events uint32) error {
		_, err := unix.InotifyAddWatch(l.fd, path, events)
		return err
	}
	const released = unix.IN_CLOSE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	if add(l.path, released) == nil {
		return true
	}
	// Without the folder, too, it is found at the next look.
	_ = add(filepath.Dir(l.path), unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONESHOT)
	return add(l.path, released) == nil // it may have been made meanwhile
}

func (l *lockWatch) close() error { return l.queue.Close() }
