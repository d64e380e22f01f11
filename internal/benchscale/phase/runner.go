package phase

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/measure"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/report"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
)

// Effort is how long and how often everything is measured.
type Effort struct {
	Deadline time.Duration // for each phase
	Idle     time.Duration // of watching an idle program
	Changes  int           // one after another
	Churn    time.Duration // at each rate
	Packets  int           // connections on each way
}

// Request is what to measure.
type Request struct {
	Kind   subject.Kind
	Path   string // of the program
	API    load.API
	Size   load.Size // of the cluster that the API has
	Effort Effort
	// Extra are further arguments for the program.
	Extra []string
	// Log gets a line for each phase.
	Log io.Writer
}

// A runner is one measurement under way.
type runner struct {
	Request
	run     *report.Run
	stage   *stage
	cluster *load.Cluster
	cgroup  *measure.Cgroup
	process *subject.Process
	setting subject.Setting
}

// Measure measures it. An error means that measuring was not possible; what the
// program could not do in time is in the Run.
func Measure(ctx context.Context, request Request) (run *report.Run, err error) {
	r := &runner{Request: request, run: &report.Run{Kind: request.Kind, Size: request.Size, When: time.Now().UTC().Truncate(time.Second)}}
	if r.run.Version, err = version(ctx, request.Path); err != nil {
		return nil, err
	}
	if err := r.setUp(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, phase := range r.phases() {
		r.logf("%s", phase.name)
		limited, cancel := context.WithTimeoutCause(ctx, request.Effort.Deadline,
			fmt.Errorf("not within %s", request.Effort.Deadline))
		err := phase.do(limited)
		cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			r.run.Failed = fmt.Sprintf("%s: %v", phase.name, err)
			r.logf("%s", r.run.Failed)
			return r.run, nil
		}
	}
	return r.run, nil
}

type phase struct {
	name string
	do   func(context.Context) error
}

func (r *runner) phases() []phase {
	return []phase{
		{"packets without rules", r.baseline},
		{"start", r.start},
		{"idle", r.idle},
		{"one change at a time", r.changes},
		{"10 changes per second", func(ctx context.Context) (err error) { r.run.Ten, err = r.churn(ctx, 10); return err }},
		{"50 changes per second", func(ctx context.Context) (err error) { r.run.Fifty, err = r.churn(ctx, 50); return err }},
		{"restart", r.restart},
		{"packets", r.packets},
	}
}

func (r *runner) setUp(ctx context.Context) (err error) {
	client, err := r.API.Client()
	if err != nil {
		return err
	}
	r.cluster = load.Open(client, r.Size)
	if r.stage, err = newStage(); err != nil {
		return err
	}
	if err := r.cluster.SetNode(ctx, r.stage.node.Name, r.stage.node.Addr4()); err != nil {
		return err
	}
	if r.cgroup, err = measure.NewCgroup(fmt.Sprintf("kpx-bench-%d-%d", os.Getpid(), time.Now().UnixNano())); err != nil {
		return err
	}
	kubeconfig, err := r.API.ForwardInto(r.stage.node.Host, r.stage.dir)
	if err != nil {
		return err
	}
	r.setting = subject.Setting{
		Kind: r.Kind, Path: r.Path, Host: r.stage.node.Host, NodeName: r.stage.node.Name,
		Kubeconfig: kubeconfig, Cgroup: r.cgroup, Dir: r.stage.dir, Extra: r.Extra,
	}
	return nil
}

// close ends the program and removes everything it has left in the kernel, which
// the namespace takes along.
func (r *runner) close() error {
	var failed []error
	if r.process != nil {
		failed = append(failed, r.process.Stop())
	}
	if r.cgroup != nil {
		failed = append(failed, r.cgroup.Close())
	}
	if r.stage != nil {
		failed = append(failed, r.stage.close())
	}
	return errors.Join(failed...)
}

func (r *runner) logf(format string, args ...any) {
	fmt.Fprintf(r.Log, "%s %s %s: %s\n", time.Now().Format(time.TimeOnly), r.Kind, r.Size, fmt.Sprintf(format, args...))
}

// version is what the program says when asked for it.
func version(ctx context.Context, path string) (string, error) {
	output, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	first, _, _ := strings.Cut(string(output), "\n")
	return strings.TrimSpace(first), nil
}
