package iptables

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What others do to the lock's file, and that there is one, is told once, and the file may come and go.
func TestLockWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xtables.lock")
	l, err := watchLock(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	var held *os.File
	lock := func() {
		if held, err = os.OpenFile(path, os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	release := func() { held.Close() }
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"there is no file", func() {}, false},
		{"the first program that needs it makes it", lock, true},
		{"it has the lock", func() {}, false},
		{"it gives the lock back", release, true},
		{"nobody", func() {}, false},
		{"two of them", func() { lock(); release(); lock(); release() }, true},
		{"nobody again", func() {}, false},
		{"the file is removed", func() { os.Remove(path) }, true},
		{"there is none any more", func() {}, false},
		{"it is made anew", func() { lock(); release() }, true},
		{"the new one is used", func() { lock(); release() }, true},
		{"nobody in the end", func() {}, false},
	} {
		step.do()
		if have := l.released(); have != step.want {
			t.Errorf("%s: have %v, want %v", step.name, have, step.want)
		}
	}
}

func TestLockWatchWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xtables.lock") // which the first program makes
	l, err := watchLock(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	never := make(chan time.Time)
	waited := make(chan bool)
	go func() {
		defer close(waited)
		for goOn := true; goOn; {
			goOn = l.wait(ctx, never)
			waited <- goOn
		}
	}()
	next := func() bool {
		t.Helper()
		select {
		case goOn := <-waited:
			return goOn
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is told within 10 s")
			return false
		}
	}
	for range 3 {
		held, err := os.OpenFile(path, os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		held.Close()
		if !next() || !l.released() {
			t.Error("the lock was given back, which is not told")
		}
	}
	cancel()
	for next() { // what was told twice
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}
