package testenv

import (
	"os/exec"
	"runtime"
	"syscall"
)

// StartMortal starts a program that does not outlive this process, even if that is
// killed. The channel is closed when the program has ended; cmd.ProcessState says
// how.
func StartMortal(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		// The death signal comes when the thread that started it ends, so that
		// thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(done)
		}
	}()
	return done, <-started
}
