package filewatch

import (
	"context"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

const deadline = 10 * time.Second

var impatient = Options{Subject: "Files", Quiet: time.Millisecond, Patience: 10 * time.Millisecond}

func TestWatchLooksRegularlyWithoutInotify(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	o := impatient
	o.Poll = time.Millisecond
	w := New(o)
	defer w.Close()
	if !w.Wait(ctx) {
		t.Error("no second look at the files")
	}
}

func TestWatchGoesOnWithoutAFolder(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	w := New(impatient)
	defer w.Close()
	w.Follow(ctx, Folders{Paths: []string{dir + "/none", dir}})
	write(t, dir+"/a.yaml", "a")
	if !w.Wait(ctx) {
		t.Error("the folder that is there is not watched")
	}
}

func TestWatchIgnoresWhatCannotMatter(t *testing.T) {
	narrow := Folders{Paths: []string{"/", "/x/y"}, Names: map[string][]string{"/": {"m"}, "/x": {"z"}}}
	for name, test := range map[string]struct {
		folders Folders
		event   fsnotify.Event
		want    bool
	}{
		"a file":                 {Folders{}, fsnotify.Event{Name: "/m/a.yaml", Op: fsnotify.Write}, true},
		"attributes":             {Folders{}, fsnotify.Event{Name: "/m/a.yaml", Op: fsnotify.Chmod}, false},
		"attributes and content": {Folders{}, fsnotify.Event{Name: "/m/a.yaml", Op: fsnotify.Chmod | fsnotify.Write}, true},
		"the path itself":        {narrow, fsnotify.Event{Name: "/m", Op: fsnotify.Create}, true},
		"the path's neighbour":   {narrow, fsnotify.Event{Name: "/n", Op: fsnotify.Create}, false},
		"a file below the path":  {narrow, fsnotify.Event{Name: "/m/a.yaml", Op: fsnotify.Create}, true},
		"what a link leads to":   {narrow, fsnotify.Event{Name: "/x/y/a.yaml", Op: fsnotify.Write}, true},
		"the end of a folder":    {narrow, fsnotify.Event{Name: "/x/y", Op: fsnotify.Remove}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := Watch{folders: test.folders}
			if got := w.matters(test.event); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
