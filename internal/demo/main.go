// Command demo shows kube-proxier at work on this machine, with nothing but
// network namespaces: two nodes, pods on them, a client outside of the cluster.
//
// It runs the real program on both nodes, on manifests, with the machine's
// iptables; sends real connections to its Services, prints what was expected and
// what happened, moves a Service to another pod while it is in use, and removes
// everything. It needs root, and changes nothing outside of its namespaces.
//
// Exit status: 0 when everything happened as expected, 1 otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// deadline bounds the demo. It takes some seconds.
const deadline = 2 * time.Minute

func main() {
	// The daemons are told to die with the thread that started them, so that they
	// do even if the demo is killed. This one lives as long as the process.
	runtime.LockOSThread()
	program := flag.String("program", "bin/kube-proxier", "the `path` of kube-proxier")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("the demo takes longer than %s", deadline))
	err := run(ctx, os.Stdout, *program)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

// run is the whole demo. Whatever it made is gone when it returns.
func run(ctx context.Context, out io.Writer, program string) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root: run it with sudo")
	}
	if program, err = filepath.Abs(program); err != nil {
		return err
	}
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("%w: build it with make build", err)
	}
	dir, err := os.MkdirTemp("", "kube-proxier-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := newStage(out, program, dir)
	if err != nil {
		return err
	}
	return errors.Join(s.play(ctx), s.close())
}
