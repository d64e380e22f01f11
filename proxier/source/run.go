package source

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"slices"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/filewatch"
)

// Run fills the store, says that it has synced, and keeps it up to date with
// the files until ctx ends. It fails only when Path cannot be read at the
// start; afterwards what cannot be read stays in force as it was.
//
// Standard input, and a Path that is a pipe, are read once.
func (m *Manifests) Run(ctx context.Context, store *proxier.Store) error {
	r := manifestsRun{Manifests: m, store: store, have: &Objects{}}
	if m.readsOnce() {
		if err := r.readOnce(ctx); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	w := newWatch()
	defer w.Close()
	if err := r.sync(ctx, w); err != nil {
		return err
	}
	store.OtherNodesKnown()
	store.SetSynced()
	for w.Wait(ctx) {
		if err := r.sync(ctx, w); err != nil {
			r.report(ctx, []proxier.Problem{{
				Kind: "Manifest", Name: m.Path,
				Reason: "cannot be read: " + err.Error() + ": what it held before stays in force",
			}})
		}
	}
	return nil
}

// readsOnce reports whether Path is a stream rather than a file.
func (m *Manifests) readsOnce() bool {
	if m.Path == Stdin {
		return true
	}
	stat, err := os.Stat(m.Path)
	return err == nil && stat.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice|fs.ModeSocket) != 0
}

// manifestsRun is the state of one Run.
type manifestsRun struct {
	*Manifests
	store    *proxier.Store
	have     *Objects // what the store holds
	reported []proxier.Problem
	told     bool
}

// readOnce reads a stream, which may take long to end.
func (r *manifestsRun) readOnce(ctx context.Context) error {
	type result struct {
		objects  *Objects
		problems []proxier.Problem
		err      error
	}
	done := make(chan result, 1)
	go func() {
		objects, problems, err := r.Load()
		done <- result{objects, problems, err}
	}()
	select {
	case <-ctx.Done():
		return nil
	case got := <-done:
		if got.err != nil {
			return got.err
		}
		r.apply(ctx, got.objects, got.problems)
		r.store.OtherNodesKnown()
		r.store.SetSynced()
		return nil
	}
}

// sync reads what changed. The folders are watched before they are read, so
// that no change falls between the two.
func (r *manifestsRun) sync(ctx context.Context, w *filewatch.Watch) error {
	l, err := r.list()
	w.Follow(ctx, l.watched())
	if err != nil {
		return err
	}
	if l, err = r.list(); err != nil {
		return err
	}
	objects, problems := r.load(l)
	r.apply(ctx, objects, problems)
	return nil
}

func (r *manifestsRun) apply(ctx context.Context, objects *Objects, problems []proxier.Problem) {
	logger := klog.FromContext(ctx)
	if !r.told || !maps.Equal(r.have.Skipped, objects.Skipped) {
		logger.Info("Manifests are read", "path", r.Path, "files", objects.Files, "services", len(objects.Services),
			"endpointSlices", len(objects.EndpointSlices), "node", objects.Node != nil, "skipped", objects.Skipped)
	}
	update(r.store, r.have, objects)
	r.have = objects
	r.report(ctx, problems)
}

// report passes the problems on, if they are others than before.
func (r *manifestsRun) report(ctx context.Context, problems []proxier.Problem) {
	if r.told && slices.Equal(problems, r.reported) {
		return
	}
	before := r.reported
	r.reported, r.told = problems, true
	r.problems.Store(&problems)
	if r.Report != nil {
		r.Report(problems)
		return
	}
	logger := klog.FromContext(ctx)
	for _, p := range problems {
		if !slices.Contains(before, p) {
			logger.Info("A manifest has a problem", "problem", p.String())
		}
	}
	if len(problems) == 0 && len(before) > 0 {
		logger.Info("The manifests have no problems any more", "path", r.Path)
	}
}
