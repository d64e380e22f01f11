package filewatch

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File returns a channel that receives when the file at path may have changed,
// and once at the beginning, until ctx ends. What happens while nobody receives
// is told once. Changes of what a symbolic link leads to count, as do those of
// the links themselves, in any folder of the path.
func File(ctx context.Context, path string, o Options) <-chan struct{} {
	told := make(chan struct{}, 1)
	go func() {
		w := New(o)
		defer w.Close()
		for {
			w.Follow(ctx, Trail(path))
			select {
			case told <- struct{}{}:
			default: // the change before has not been looked at yet
			}
			if !w.Wait(ctx) {
				return
			}
		}
	}()
	return told
}

// maxLinks is how many symbolic links the kernel follows in one path
// (path_resolution(7)).
const maxLinks = 40

// Trail is where something can happen that makes path mean another file, or
// changes the file: the folders of each symbolic link that path leads through,
// and that of the file in the end. Where something does not exist, it is the
// folder in which it would have to be created.
func Trail(path string) Folders {
	path, err := filepath.Abs(path)
	if err != nil {
		return Folders{} // without a working folder: only the poll is left
	}
	t := &trail{Folders{Names: map[string][]string{}}}
	t.follow(path)
	return t.Folders
}

type trail struct{ Folders }

// follow resolves an absolute path name by name.
func (t *trail) follow(path string) {
	rest := strings.Split(strings.TrimPrefix(filepath.Clean(path), "/"), "/")
	at, links := "/", 0
	for len(rest) > 0 {
		name := filepath.Join(at, rest[0])
		target, err := os.Readlink(name)
		if err == nil {
			t.note(at, rest[0])
			if links++; links > maxLinks {
				return
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(at, target)
			}
			rest = append(strings.Split(strings.TrimPrefix(filepath.Clean(target), "/"), "/"), rest[1:]...)
			at = "/"
			continue
		}
		if _, err := os.Lstat(name); err != nil || len(rest) == 1 {
			t.note(at, rest[0])
			return
		}
		at, rest = name, rest[1:]
	}
}

func (t *trail) note(folder, name string) {
	if !slices.Contains(t.Paths, folder) {
		t.Paths = append(t.Paths, folder)
	}
	if !slices.Contains(t.Names[folder], name) {
		t.Names[folder] = append(t.Names[folder], name)
	}
}
