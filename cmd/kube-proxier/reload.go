package main

import (
	"context"
	"errors"
	"os"
	"time"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/filewatch"
)

// How long a configuration file has to be left alone before it is read: who
// writes it in place is not half way through then. Patience is for a file that
// is never left alone.
const (
	configQuiet    = time.Second
	configPatience = 30 * time.Second
)

// A reloader puts the configuration file into force when it changes. What cannot
// be put into force leaves all as it was.
type reloader struct {
	*resident
	// load reads the configuration as at the start: the same flags count.
	load func(context.Context) (*config.Config, []config.Warning, error)
	// adjustLogging changes how much is logged.
	adjustLogging func(config.Logging) error
	current       *generation
	kubeconfig    kubeconfig
	told          *reloadReport
}

// reloadable is the path of a configuration file that can be read again; empty
// for none, and for a pipe.
func reloadable(path string) string {
	stat, err := os.Stat(path)
	if path == "" || err == nil && !stat.Mode().IsRegular() {
		return ""
	}
	return path
}

// watchFile receives when the file may have changed; never without a file.
func watchFile(ctx context.Context, subject, path string) <-chan struct{} {
	if path == "" {
		return nil
	}
	return filewatch.File(ctx, path, filewatch.Options{Subject: subject, Quiet: configQuiet, Patience: configPatience})
}

// run follows the file until ctx ends, and waits for the end of the generation
// that serves then.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) {
	var changed, connection <-chan struct{}
	if r.told.file != "" {
		changed = watchFile(ctx, "The configuration file", r.told.file)
		connection = watchFile(ctx, "The kubeconfig", r.kubeconfig.path)
	}
	defer func() { r.current.await() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-connection:
		case <-hangups:
			if r.told.file == "" {
				r.logger.Info("SIGHUP: there is no configuration file that could be read again")
				continue
			}
			r.logger.Info("SIGHUP: the configuration file is read again", "file", r.told.file)
		}
		r.reload(ctx)
	}
}

// reload puts into force what the file says now, or says why not. A file that
// was refused for what this host lacks is tried again each time.
func (r *reloader) reload(ctx context.Context) {
	next, warnings, err := r.load(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.told.refuse(err)
		}
		return
	}
	r.told.warn(warnings)
	next, changes, err := r.inForce.Load().Succeed(next)
	if err != nil {
		r.told.refuse(err)
		return
	}
	now, later := splitChanges(changes)
	if len(now) > 0 {
		if err := r.apply(ctx, next); err != nil {
			if ctx.Err() == nil {
				r.told.refuse(err)
			}
			return
		}
		r.told.apply(next, now)
	}
	r.told.asWritten(r.kubeconfig.changed(later))
}

// splitChanges tells the changes that count at once from those that need a
// restart.
func splitChanges(changes []config.Change) (now, later []config.Change) {
	for _, c := range changes {
		if c.Restart == "" {
			now = append(now, c)
		} else {
			later = append(later, c)
		}
	}
	return now, later
}

// apply replaces the configuration in force. All that can fail comes before the
// generation that serves is ended.
func (r *reloader) apply(ctx context.Context, next *config.Config) error {
	old := r.inForce.Load()
	var g *generation
	if !old.ServesLike(next) {
		var err error
		if g, err = r.prepare(ctx, next); err != nil {
			return err
		}
	}
	if err := r.commit(ctx, old, next, g); err != nil {
		if g != nil {
			g.discard()
		}
		return err
	}
	if g == nil {
		r.inForce.Store(next)
		return nil
	}
	if err := r.current.end(); err != nil {
		r.logger.Error(err, "The next configuration comes into force")
	}
	r.current = g
	r.adopt(g)
	return nil
}

// commit does what can fail although it was prepared, for a generation that may be
// nil: all or nothing. Parameters of the kernel, which nobody sets back, come last.
func (r *reloader) commit(ctx context.Context, old, next *config.Config, g *generation) error {
	err := r.adjustLogging(next.Logging)
	if err == nil {
		err = r.moveServers(ctx, old, next)
	}
	if err == nil && g != nil {
		if err = r.require(g); err != nil {
			err = errors.Join(err, r.moveServers(ctx, next, old))
		}
	}
	if err != nil {
		err = errors.Join(err, r.adjustLogging(old.Logging))
	}
	return err
}

// moveServers makes them listen where next says: both or none.
func (r *resident) moveServers(ctx context.Context, old, next *config.Config) error {
	if r.dryRun {
		return nil
	}
	if err := r.healthy.listener.Move(ctx, healthPlace(next)); err != nil {
		return err
	}
	err := r.measured.listener.Move(ctx, metricsPlace(next))
	if err == nil {
		return nil
	}
	return errors.Join(err, r.healthy.listener.Move(ctx, healthPlace(old)))
}

// logChanges logs each field.
func logChanges(logger klog.Logger, message string, changes []config.Change) {
	for _, c := range changes {
		if c.Restart == "" {
			logger.Info(message, "field", c.Field, "from", c.Old, "to", c.New)
			continue
		}
		logger.Info(message, "field", c.Field, "from", c.Old, "to", c.New, "reason", c.Restart)
	}
}
