// Command kube-proxier replaces kube-proxy on a Linux node: it makes Services
// reachable, from the objects of an API server or from files. Without a
// command it runs as a daemon; its commands show what it would do, compare
// that with the kernel, and remove what it did.
//
// Exit status: 0 when all went well, 1 after an error; of diff as of
// kubectl diff: 0 for no difference, 1 for some, 2 after an error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, args []string, in io.Reader, out, problems io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(problems)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	failure := exitError{status: 1, err: err}
	errors.As(err, &failure)
	if failure.err != nil {
		fmt.Fprintf(problems, "kube-proxier: %v\n", failure.err)
	}
	return failure.status
}

// An exitError ends the program with a status of its own; without err, nothing
// is printed.
type exitError struct {
	status int
	err    error
}

// Error is the message, if there is one.
func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e exitError) Unwrap() error { return e.err }
