package iptables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A tablesLock is the lock that all programs of iptables-legacy take to write. Its
// file stays open, since to close it looks to a lockWatch as if somebody had written.
type tablesLock struct {
	mu   sync.Mutex
	file *os.File
}

// lockRetry is how often a lock that others have is asked for.
const lockRetry = 5 * time.Millisecond

// share keeps others from writing until release is called. It waits for lockSeconds
// at most.
func (l *tablesLock) share(ctx context.Context) (release func(), err error) {
	l.mu.Lock()
	if err := l.acquire(ctx); err != nil {
		l.mu.Unlock()
		return nil, fmt.Errorf("xtables lock: %w", err)
	}
	return func() {
		_ = unix.Flock(int(l.file.Fd()), unix.LOCK_UN)
		l.mu.Unlock()
	}, nil
}

func (l *tablesLock) acquire(ctx context.Context) error {
	if err := l.open(); err != nil {
		return err
	}
	const patience = lockSeconds * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it was not given back within %s", patience))
	defer cancel()
	retry := time.NewTicker(lockRetry)
	defer retry.Stop()
	for {
		err := unix.Flock(int(l.file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another program has %s: %w", l.file.Name(), context.Cause(ctx))
		case <-retry.C:
		}
	}
}

// open opens the file as the tools do, again if it has been removed meanwhile:
// they lock the one that has the name now.
func (l *tablesLock) open() error {
	if l.file != nil {
		ours, err := l.file.Stat()
		theirs, errNow := os.Stat(l.file.Name())
		if err == nil && errNow == nil && os.SameFile(ours, theirs) {
			return nil
		}
		_ = l.file.Close() // nothing was written to it
	}
	var err error
	l.file, err = os.OpenFile(lockFile(), os.O_RDONLY|os.O_CREATE, 0o600)
	return err
}
