package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/phase"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/report"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
)

// measureAll measures every kind at every size. What has been measured is written
// at once.
func measureAll(ctx context.Context, o *options, results *report.Results, log io.Writer) error {
	for _, size := range o.sizes {
		if err := measureSize(ctx, o, size, results, log); err != nil {
			return err
		}
	}
	return nil
}

// measureSize fills an API server and measures every kind with it.
func measureSize(ctx context.Context, o *options, size load.Size, results *report.Results, log io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "bench-scale-api-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	kube, err := testenv.NewKube(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kube.Close()) }()
	api, err := fill(ctx, kube, size, log)
	if err != nil {
		return err
	}
	for _, kind := range o.kinds {
		run, err := measureKind(ctx, o, request(o, kind, size, api, log))
		if err != nil {
			return fmt.Errorf("%s at %s: %w", kind, size, err)
		}
		results.Add(run)
		if err := results.Write(o.out, o.page); err != nil {
			return err
		}
	}
	return nil
}

// fill makes the cluster.
func fill(ctx context.Context, kube *testenv.Kube, size load.Size, log io.Writer) (load.API, error) {
	api, err := load.NewAPI(kube.Kubeconfig())
	if err != nil {
		return api, err
	}
	client, err := api.Client()
	if err != nil {
		return api, err
	}
	start := time.Now()
	if err := load.Open(client, size).Create(ctx); err != nil {
		return api, fmt.Errorf("fill the API server: %w", err)
	}
	fmt.Fprintf(log, "%s written to the API server in %s\n", size, time.Since(start).Round(100*time.Millisecond))
	return api, nil
}

func request(o *options, kind subject.Kind, size load.Size, api load.API, log io.Writer) phase.Request {
	r := phase.Request{Kind: kind, Path: o.path(kind), API: api, Size: size, Effort: o.effort, Log: log}
	if kind.Program == subject.Ours {
		r.Extra = o.extra
	}
	return r
}

// measureKind measures here, or in the virtual machine what this kernel lacks.
func measureKind(ctx context.Context, o *options, r phase.Request) (*report.Run, error) {
	if r.Kind.Mode == subject.IPVS && vm.Needed() != "" {
		return measureInVM(ctx, o, r)
	}
	return phase.Measure(ctx, r)
}
