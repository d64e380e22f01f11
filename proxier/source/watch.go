package source

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
)

const (
	// quiet is how long no file may have changed before the files are read:
	// an edit is often several writes. patience bounds the wait for that.
	quiet    = 100 * time.Millisecond
	patience = time.Second
	// rescan is how often files are read without any sign of a change, because
	// some file systems (NFS, FUSE) do not announce what others change.
	rescan = time.Minute
)

// A fileWatch tells when something happened in a set of folders. Where the kernel
// cannot tell, a regular look at the files has to do.
type fileWatch struct {
	notify *fsnotify.Watcher // nil without inotify
	named  string            // see listing
	failed map[string]bool   // what has been logged
	ticker *time.Ticker
}

func newFileWatch() *fileWatch {
	return &fileWatch{failed: map[string]bool{}, ticker: time.NewTicker(rescan)}
}

func (w *fileWatch) close() {
	w.ticker.Stop()
	if w.notify != nil {
		w.notify.Close()
	}
}

// follow makes these the folders that are watched. The kernel watches folders
// and not names; starting anew each time is the simple way to be sure that
// each name is watched as the folder it means now.
func (w *fileWatch) follow(ctx context.Context, l listing) {
	w.named = l.named
	if w.notify != nil {
		w.notify.Close()
	}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		w.notify = nil
		w.complain(ctx, "", err)
		return
	}
	for _, folder := range l.folders {
		if err := w.notify.Add(folder); err != nil {
			w.complain(ctx, folder, err)
		}
	}
}

// complain says once that a folder, or any folder, cannot be watched.
func (w *fileWatch) complain(ctx context.Context, folder string, err error) {
	if w.failed[folder] {
		return
	}
	w.failed[folder] = true
	klog.FromContext(ctx).Error(err, "Manifests cannot be watched, so they are read regularly (is a limit in /proc/sys/fs/inotify too low?)", "folder", folder, "every", rescan)
}

// matters reports whether an event can change what is read. Attributes do not:
// reading a file can be a change of its times.
func (w *fileWatch) matters(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	stranger := w.named != "" && event.Name != w.named && filepath.Dir(event.Name) == filepath.Dir(w.named)
	return !stranger
}

// wait returns true when the files should be read, false when ctx has ended.
func (w *fileWatch) wait(ctx context.Context) bool {
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
				enough = time.After(patience)
			}
			settled = time.After(quiet)
		case err := <-errs: // events were lost
			klog.FromContext(ctx).Info("The watch on the files had an error; they are read anew", "err", err)
			return true
		}
	}
}
