// Command bench-scale measures kube-proxier, and kube-proxy beside it, at large
// numbers of Services, and writes docs/benchmarks.md. `make bench-scale` runs it.
//
// It starts a real kube-apiserver, fills it, and runs the built programs one after
// another in network namespaces, against the real kernel; IPVS mode in the virtual
// machine of internal/testenv/vm where this kernel has no IPVS. It needs root.
//
// Exit status: 0 when everything was measured, whatever the figures are; 1 otherwise.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/report"
)

func main() {
	// What is started is told to die with the thread that started it.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := execute(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench-scale: %v\n", err)
		os.Exit(1)
	}
}

func execute(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.inside() {
		return measureInside(ctx, o, out)
	}
	results, err := report.Read(o.out + "/results.json")
	if err != nil {
		return err
	}
	if !o.reportOnly {
		results.Machine = machine(ctx)
		if err := measureAll(ctx, o, results, out); err != nil {
			return err
		}
	}
	return results.Write(o.out, o.page)
}

func defineEffort(flags *flag.FlagSet, o *options) {
	flags.DurationVar(&o.effort.Deadline, "deadline", 30*time.Minute, "how long each phase may take")
	flags.DurationVar(&o.effort.Idle, "idle", 4*time.Minute, "how long an idle program is watched")
	flags.IntVar(&o.effort.Changes, "changes", 20, "how many endpoints are changed one after another")
	flags.DurationVar(&o.effort.Churn, "churn", 30*time.Second, "how long endpoints are changed at each rate")
	flags.IntVar(&o.effort.Packets, "packets", 3000, "how many connections are opened on each way")
}
