package iptables

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// The tools say "line 4: RULE_APPEND failed", "Error occurred at line: 4" or
// "line 4 failed".
var lineNumber = regexp.MustCompile(`\bline:? (\d+)`)

// maxToolStatus is above the exit statuses that the tools have for their input,
// 1 to 4.
const maxToolStatus = 125

// exhausted reports whether a tool complains about memory: "can't alloc memory!",
// "line 7 failed: Memory allocation problem", or in the C library's words for
// ENOMEM and ENOBUFS.
func exhausted(output string) bool {
	for _, words := range []string{"alloc memory", "Memory allocation", "Cannot allocate memory", "No buffer space available"} {
		if strings.Contains(output, words) {
			return true
		}
	}
	return false
}

func restore(cmd *exec.Cmd, input string, started ...func(pid int)) error {
	_, err := runRestore(cmd, input, started...)
	return err
}

// runRestore sends the input once all who want to know have been told of the
// process, and returns what the tool has said.
func runRestore(cmd *exec.Cmd, input string, started ...func(pid int)) (string, error) {
	var output bytes.Buffer
	// If this process is killed, the tool must not write what is old by then
	// over what the next one has written; it may be waiting for the lock. The
	// signal comes with the end of the thread that started it (prctl(2)).
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.Stdout, cmd.Stderr = &output, &output
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		for _, f := range started {
			f(cmd.Process.Pid)
		}
		_, _ = io.WriteString(stdin, input) // one that ends before it has read all says why
		_ = stdin.Close()
		err = cmd.Wait()
	}
	if err == nil {
		return output.String(), nil
	}
	exit, ran := errors.AsType[*exec.ExitError](err)
	// Not found, killed, or the loader failed (exit status 127, as in a shell): it
	// says nothing about the input.
	if !ran || !exit.Exited() || exit.ExitCode() > maxToolStatus {
		return "", fmt.Errorf("%s: %w: %s", cmd.Path, err, strings.TrimSpace(output.String()))
	}
	e := &RestoreError{Output: output.String(), Locked: strings.Contains(output.String(), "xtables lock"), Exhausted: exhausted(output.String())}
	if m := lineNumber.FindStringSubmatch(e.Output); m != nil {
		e.Line, _ = strconv.Atoi(m[1]) // digits, by the expression
	}
	return output.String(), e
}
