// Package filewatch tells when files may have changed: soon where the kernel
// announces it, and from time to time in any case, because some file systems
// (NFS, FUSE) do not announce what others change. It does not read them.
package filewatch

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
)

// Poll is how often files are looked at without any sign of a change.
const Poll = time.Minute

// Options say how patient a Watch is.
type Options struct {
	// Subject is what is watched, for the log, such as "Manifests".
	Subject string
	// Quiet is how long nothing may have happened before the files are read: an
	// edit is often several writes. Patience bounds the wait for that.
	Quiet, Patience time.Duration
	// Poll is Poll, but for tests.
	Poll time.Duration
}

// Folders are what a Watch looks at.
type Folders struct {
	// Paths are folders in which a change can matter, by their real names.
	Paths []string
	// Names, for folders that are in it, are the only names in them that matter.
	Names map[string][]string
}

// A Watch tells when something happened in a set of folders. It is not safe for
// concurrent use.
type Watch struct {
	options Options
	notify  *fsnotify.Watcher // nil without inotify
	folders Folders
	failed  map[string]bool // what has been logged
	ticker  *time.Ticker
}

// New returns a Watch of nothing yet, to be closed.
func New(o Options) *Watch {
	if o.Poll == 0 {
		o.Poll = Poll
	}
	return &Watch{options: o, failed: map[string]bool{}, ticker: time.NewTicker(o.Poll)}
}

// Close ends it.
func (w *Watch) Close() {
	w.ticker.Stop()
	if w.notify != nil {
		w.notify.Close()
	}
}

// Follow makes these the folders that are watched. The kernel watches folders
// and not names; starting anew each time is the simple way to be sure that
// each name is watched as the folder it means now. To miss no change, read the
// files afterwards. A folder that cannot be watched is logged, once.
func (w *Watch) Follow(ctx context.Context, folders Folders) {
	w.folders = folders
	if w.notify != nil {
		w.notify.Close()
	}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		w.notify = nil
		w.complain(ctx, "", err)
		return
	}
	for _, folder := range folders.Paths {
		if err := w.notify.Add(folder); err != nil {
			w.complain(ctx, folder, err)
		}
	}
}

// complain says once that a folder, or any folder, cannot be watched.
func (w *Watch) complain(ctx context.Context, folder string, err error) {
	if w.failed[folder] {
		return
	}
	w.failed[folder] = true
	klog.FromContext(ctx).Error(err, w.options.Subject+" cannot be watched, so they are read regularly (is a limit in /proc/sys/fs/inotify too low?)",
		"folder", folder, "every", w.options.Poll)
}

// matters reports whether an event can change what is read. Attributes do not:
// reading a file can be a change of its times.
func (w *Watch) matters(event fsnotify.Event) bool {
	switch {
	case event.Op == fsnotify.Chmod:
		return false
	case slices.Contains(w.folders.Paths, event.Name):
		return true // a folder itself came or went
	}
	names, narrowed := w.folders.Names[filepath.Dir(event.Name)]
	return !narrowed || slices.Contains(names, filepath.Base(event.Name))
}

// Wait returns true when the files should be read, false when ctx has ended.
func (w *Watch) Wait(ctx context.Context) bool {
	var events chan fsnotify.Event
	var errs chan error
	if w.notify != nil {
		events, errs = w.notify.Events, w.notify.Errors
	}
	var settled, enough <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.ticker.C:
			return true
		case <-settled:
			return true
		case <-enough:
			return true
		case event := <-events:
			if !w.matters(event) {
				continue
			}
			if enough == nil {
				enough = time.After(w.options.Patience)
			}
			settled = time.After(w.options.Quiet)
		case err := <-errs: // events were lost
			klog.FromContext(ctx).Info("The watch on files had an error; they are read anew", "subject", w.options.Subject, "err", err)
			return true
		}
	}
}
