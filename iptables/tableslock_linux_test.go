package iptables

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTablesLockKeepsWritersOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xtables.lock")
	t.Setenv("XTABLES_LOCKFILE", path)
	var lock tablesLock
	release, err := lock.share(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writer, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	write := func() error { return unix.Flock(int(writer.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
	if err := write(); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("somebody can write meanwhile: %v", err)
	}
	release()
	if err := write(); err != nil {
		t.Fatalf("nobody can write afterwards: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 4*lockRetry)
	defer cancel()
	if _, err := lock.share(soon); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("while another has the lock: error %v, want one that names %s", err, path)
	}
	gaveBack := make(chan error, 1)
	time.AfterFunc(4*lockRetry, func() { gaveBack <- unix.Flock(int(writer.Fd()), unix.LOCK_UN) })
	release, err = lock.share(t.Context())
	if err := errors.Join(err, <-gaveBack); err != nil {
		t.Fatalf("when another has given it back: %v", err)
	}
	release()
}

func TestTablesLockNeedsItsFile(t *testing.T) {
	t.Setenv("XTABLES_LOCKFILE", filepath.Join(t.TempDir(), "missing", "xtables.lock"))
	var lock tablesLock
	for range 2 { // a failure does not hold up the next
		if _, err := lock.share(t.Context()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v, want that there is no such folder", err)
		}
	}
}

// Who removes the file makes the tools lock another of its name.
func TestTablesLockFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xtables.lock")
	t.Setenv("XTABLES_LOCKFILE", path)
	var lock tablesLock
	share := func() (release func()) {
		t.Helper()
		release, err := lock.share(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	share()()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	share()()
	writer, err := os.Open(path)
	if err != nil {
		t.Fatalf("the file is not there again: %v", err)
	}
	defer writer.Close()
	defer share()()
	if err := unix.Flock(int(writer.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("who locks the file of that name can write meanwhile: %v", err)
	}
}
