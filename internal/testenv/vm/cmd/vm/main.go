// Program vm runs tests and commands where the kernel has IPVS: in a small virtual
// machine, and tests directly where this kernel will do.
//
//	vm test [-t TIMEOUT] PACKAGE... [-- TESTFLAG...]
//	vm run [-t TIMEOUT] -- COMMAND [ARG...]
//
// test compiles the tests of the packages and runs them in one boot, with CI=true:
//
//	go run ./internal/testenv/vm/cmd/vm test ./ipvs/... -- -test.v -test.run=Drain
//
// TIMEOUT (10m) is for each package. Where no machine can be had, the tests are
// skipped with a message, or fail if CI=true is set already. run always uses the machine, runs the command
// as root in the current folder, and exits with its status. (Through `go run` any
// status but 0 becomes 1.) TIMEOUT is for all of it. Status 125 means that the
// machine, not the command, has failed; 124 that the time was up.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
)

const (
	statusTimeout = 124
	statusFailed  = 125
	statusUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// execute returns the exit status.
func execute(ctx context.Context, args []string, out, log io.Writer) int {
	const usage = "usage: vm test [-t TIMEOUT] PACKAGE... [-- TESTFLAG...]\n" +
		"       vm run [-t TIMEOUT] -- COMMAND [ARG...]\n"
	if len(args) == 0 {
		fmt.Fprint(log, usage)
		return statusUsage
	}
	flags := flag.NewFlagSet("vm "+args[0], flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() { fmt.Fprint(log, usage) }
	timeout := flags.Duration("t", 10*time.Minute, "")
	if err := flags.Parse(args[1:]); err != nil {
		return statusUsage
	}
	switch {
	case args[0] == "test" && flags.NArg() > 0:
		return test(ctx, flags.Args(), *timeout, out, log)
	case args[0] == "run" && flags.NArg() > 0:
		return run(ctx, flags.Args(), *timeout, out, log)
	}
	flags.Usage()
	return statusUsage
}

func test(ctx context.Context, args []string, timeout time.Duration, out, log io.Writer) int {
	suite := vm.Suite{Packages: args, Timeout: timeout, Out: out, Log: log}
	if i := slices.Index(args, "--"); i >= 0 {
		suite.Packages, suite.Flags = args[:i], args[i+1:]
	}
	switch err := suite.Run(ctx); {
	case errors.Is(err, vm.ErrTestsFailed):
		return 1
	case errors.Is(err, vm.ErrUnavailable) && os.Getenv("CI") != "true":
		fmt.Fprintf(log, "vm: TESTS SKIPPED, with CI=true they would fail: %v\n", err)
	case err != nil:
		fmt.Fprintln(log, "vm:", err)
		return statusFailed
	}
	return 0
}

// errTime says that -t has passed.
var errTime = errors.New("it ran longer than -t allows")

func run(ctx context.Context, args []string, timeout time.Duration, out, log io.Writer) int {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w: %s", errTime, timeout))
	defer cancel()
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(log, "vm:", err)
		return statusFailed
	}
	command := vm.Command{Args: args, Dir: dir, Env: os.Environ()}
	exits, err := vm.Run(ctx, vm.Watcher{Output: out, Log: log}, command)
	switch {
	case err == nil:
		return exits[0].Status
	case errors.Is(err, errTime):
		fmt.Fprintln(log, "vm:", err)
		return statusTimeout
	}
	fmt.Fprintln(log, "vm:", err)
	return statusFailed
}
