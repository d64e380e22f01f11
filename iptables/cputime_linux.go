package iptables

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is how long f keeps a processor busy, which on a busy machine is far less
// than it takes.
func cpuTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	f()
	return threadTime() - before
}

func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0 // Linux has that clock
	}
	return time.Duration(t.Nano())
}
