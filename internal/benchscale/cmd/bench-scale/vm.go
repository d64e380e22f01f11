package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/phase"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/report"
	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
)

// resultMark begins the line that the part inside of the machine prints a Run in.
// The machine mixes both outputs of a program.
const resultMark = "result: "

// measureInVM runs this program in the virtual machine, which reaches this one's
// loopback, and so the API server, by an address of qemu's.
func measureInVM(ctx context.Context, o *options, r phase.Request) (*report.Run, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{
		self, "-kubeconfig", r.API.Kubeconfig, "-api", netip.AddrPortFrom(vm.HostLoopback(), r.API.Addr.Port()).String(),
		"-sizes", r.Size.String(), "-modes", r.Kind.Mode, "-only", r.Kind.Program,
		"-program", o.program, "-args", strings.Join(o.extra, " "),
		"-deadline", r.Effort.Deadline.String(), "-idle", r.Effort.Idle.String(), "-churn", r.Effort.Churn.String(),
		"-changes", fmt.Sprint(r.Effort.Changes), "-packets", fmt.Sprint(r.Effort.Packets),
	}
	if o.compare != "" {
		args = append(args, "-compare", o.compare)
	}
	output := &resultFilter{log: r.Log}
	watcher := vm.Watcher{Output: output, Log: r.Log, Network: true}
	env := append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	exits, err := vm.Run(ctx, watcher, vm.Command{Args: args, Dir: "/", Env: env})
	switch {
	case err != nil:
		return nil, err
	case exits[0].Status != 0:
		return nil, fmt.Errorf("in the virtual machine: exit status %d", exits[0].Status)
	case output.result == "":
		return nil, errors.New("in the virtual machine: it printed no result")
	}
	var run report.Run
	if err := json.Unmarshal([]byte(output.result), &run); err != nil {
		return nil, fmt.Errorf("in the virtual machine: result: %w", err)
	}
	run.VM = true
	return &run, nil
}

// resultFilter passes lines on to log, but keeps that of the result.
type resultFilter struct {
	log     io.Writer
	partial []byte
	result  string
}

// Write implements io.Writer.
func (f *resultFilter) Write(p []byte) (int, error) {
	f.partial = append(f.partial, p...)
	for {
		line, rest, found := bytes.Cut(f.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		if result, ok := bytes.CutPrefix(line, []byte(resultMark)); ok {
			f.result = string(result)
		} else {
			fmt.Fprintf(f.log, "%s\n", line)
		}
		f.partial = rest
	}
}

// measureInside is the part inside.
func measureInside(ctx context.Context, o *options, out io.Writer) error {
	api := load.API{Kubeconfig: o.kubeconfig, Addr: o.api}
	for _, kind := range o.kinds {
		run, err := phase.Measure(ctx, request(o, kind, o.sizes[0], api, out))
		if err != nil {
			return err
		}
		text, err := json.Marshal(run)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s%s\n", resultMark, text)
	}
	return nil
}
