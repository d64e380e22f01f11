package source

import (
	"context"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

func TestFileWatchLooksRegularlyWithoutInotify(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	w := newFileWatch()
	defer w.close()
	w.ticker.Reset(time.Millisecond)
	if !w.wait(ctx) {
		t.Error("no second look at the files")
	}
}

func TestFileWatchGoesOnWithoutAFolder(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(quietly(t), deadline)
	defer cancel()
	w := newFileWatch()
	defer w.close()
	w.follow(ctx, listing{folders: []string{dir + "/none", dir}})
	write(t, web, dir, "a.yaml")
	if !w.wait(ctx) {
		t.Error("the folder that is there is not watched")
	}
}

func TestFileWatchIgnoresWhatCannotMatter(t *testing.T) {
	for name, test := range map[string]struct {
		named string
		event fsnotify.Event
		want  bool
	}{
		"a file":                 {"", fsnotify.Event{Name: "/m/a.yaml", Op: fsnotify.Write}, true},
		"attributes":             {"", fsnotify.Event{Name: "/m/a.yaml", Op: fsnotify.Chmod}, false},
		"attributes and content": {"", fsnotify.Event{Name: "/m/a.yaml", Op: fsnotify.Chmod | fsnotify.Write}, true},
		"the path itself":        {"/m", fsnotify.Event{Name: "/m", Op: fsnotify.Create}, true},
		"the path's neighbour":   {"/m", fsnotify.Event{Name: "/n", Op: fsnotify.Create}, false},
		"a file below the path":  {"/m", fsnotify.Event{Name: "/m/a.yaml", Op: fsnotify.Create}, true},
		"what a link leads to":   {"/m", fsnotify.Event{Name: "/x/a.yaml", Op: fsnotify.Write}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := fileWatch{named: test.named}
			if got := w.matters(test.event); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
