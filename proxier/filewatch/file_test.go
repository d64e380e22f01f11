package filewatch

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// folder is a new one by its real name.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return dir
}

// publish puts a version of a ConfigMap's file into dir as the kubelet does: in
// a folder of its own, to which the link ..data is moved.
func publish(t *testing.T, dir, version, text string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
	write(t, filepath.Join(dir, version, "config.conf"), text)
	must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
	must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
}

// each calls test for each way in which a file can be changed; path holds text
// afterwards.
func each(t *testing.T, test func(t *testing.T, path string, change func(text string))) {
	for name, prepare := range map[string]func(t *testing.T, dir string) (path string, change func(string)){
		"written in place": func(t *testing.T, dir string) (string, func(string)) {
			path := filepath.Join(dir, "config.conf")
			write(t, path, "old")
			return path, func(text string) { write(t, path, text) }
		},
		"replaced by another one": func(t *testing.T, dir string) (string, func(string)) {
			path := filepath.Join(dir, "config.conf")
			write(t, path, "old")
			return path, func(text string) {
				write(t, path+".new", text)
				must(t, os.Rename(path+".new", path))
			}
		},
		"a version of a ConfigMap": func(t *testing.T, dir string) (string, func(string)) {
			publish(t, dir, "..1", "old")
			must(t, os.Symlink("..data/config.conf", filepath.Join(dir, "config.conf")))
			return filepath.Join(dir, "config.conf"), func(text string) {
				publish(t, dir, "..2"+text, text)
				must(t, os.RemoveAll(filepath.Join(dir, "..1")))
			}
		},
		"behind links to folders": func(t *testing.T, dir string) (string, func(string)) {
			must(t, os.MkdirAll(filepath.Join(dir, "a", "real"), 0o700))
			must(t, os.Symlink("real", filepath.Join(dir, "a", "link")))
			path := filepath.Join(dir, "a", "link", "config.conf")
			write(t, path, "old")
			return path, func(text string) {
				must(t, os.Mkdir(filepath.Join(dir, "a", text), 0o700))
				write(t, filepath.Join(dir, "a", text, "config.conf"), text)
				must(t, os.Symlink(text, filepath.Join(dir, "a", "next")))
				must(t, os.Rename(filepath.Join(dir, "a", "next"), filepath.Join(dir, "a", "link")))
			}
		},
		"in a folder made anew": func(t *testing.T, dir string) (string, func(string)) {
			path := filepath.Join(dir, "sub", "config.conf")
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			write(t, path, "old")
			return path, func(text string) {
				must(t, os.RemoveAll(filepath.Dir(path)))
				must(t, os.Mkdir(filepath.Dir(path), 0o700))
				write(t, path, text)
			}
		},
		"not there before": func(t *testing.T, dir string) (string, func(string)) {
			path := filepath.Join(dir, "sub", "deeper", "config.conf")
			return path, func(text string) {
				must(t, os.MkdirAll(filepath.Dir(path), 0o700))
				write(t, path, text)
			}
		},
		"deleted and back": func(t *testing.T, dir string) (string, func(string)) {
			path := filepath.Join(dir, "config.conf")
			write(t, path, "old")
			return path, func(text string) {
				must(t, os.Remove(path))
				write(t, path, text)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, change := prepare(t, folder(t))
			test(t, path, change)
		})
	}
}

func TestFileTellsOfEveryKindOfChange(t *testing.T) {
	each(t, func(t *testing.T, path string, change func(string)) {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		told := File(ctx, path, Options{Subject: "Files", Quiet: time.Millisecond, Patience: 10 * time.Millisecond, Poll: time.Hour})
		<-told // the beginning
		// Reads whenever it is told, as the program does, also half way through.
		read := make(chan string, 1000)
		go func() {
			defer close(read)
			for {
				select {
				case <-told:
				case <-ctx.Done():
					return
				}
				text, _ := os.ReadFile(path)
				read <- string(text)
			}
		}()
		change("new")
		for {
			text, more := <-read
			if !more {
				t.Fatal("the new text was never read")
			}
			if text == "new" {
				return
			}
		}
	})
}

func TestFileTellsOfAnEndAndOfAFileThatStays(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	path := filepath.Join(folder(t), "config.conf")
	write(t, path, "old")
	told := File(ctx, path, Options{Subject: "Files", Quiet: time.Millisecond, Patience: time.Second, Poll: time.Hour})
	<-told
	must(t, os.Remove(path))
	select {
	case <-told:
	case <-ctx.Done():
		t.Error("nothing is told of a file that is gone")
	}
	polled := File(ctx, path, Options{Subject: "Files", Quiet: time.Hour, Patience: time.Hour, Poll: time.Millisecond})
	<-polled
	select {
	case <-polled:
	case <-ctx.Done():
		t.Error("nobody looks now and then")
	}
}

func TestTrail(t *testing.T) {
	dir := folder(t)
	publish(t, dir, "..1", "text")
	must(t, os.Symlink("..data/config.conf", filepath.Join(dir, "config.conf")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	must(t, os.Symlink(filepath.Join(dir, "..1", "none"), filepath.Join(dir, "dangling")))
	for name, test := range map[string]struct {
		path string
		want map[string][]string
	}{
		"a plain file":           {"..1/config.conf", map[string][]string{"..1": {"config.conf"}}},
		"a ConfigMap's":          {"config.conf", map[string][]string{".": {"config.conf", "..data"}, "..1": {"config.conf"}}},
		"nothing":                {"none", map[string][]string{".": {"none"}}},
		"nothing in no folder":   {"none/deeper/config.conf", map[string][]string{".": {"none"}}},
		"a link to itself":       {"loop", map[string][]string{".": {"loop"}}},
		"a link that leads away": {"dangling", map[string][]string{".": {"dangling"}, "..1": {"none"}}},
	} {
		t.Run(name, func(t *testing.T) {
			want := Folders{Names: map[string][]string{}}
			for sub, names := range test.want {
				want.Names[filepath.Join(dir, sub)] = names
			}
			got := Trail(filepath.Join(dir, test.path))
			slices.Sort(got.Paths)
			want.Paths = slices.Sorted(maps.Keys(want.Names))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
