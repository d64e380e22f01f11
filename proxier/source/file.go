package source

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultMaxBytes is the largest file that is read: 128 MiB. A listing of
// 10,000 Services with 10 endpoints each has 40 MB as YAML; reading YAML takes
// about 30 times its size in memory for a moment.
const DefaultMaxBytes = 128 << 20

// A file is one file of manifests over time.
type file struct {
	path string
	// sum is of the bytes that were read last.
	sum [sha256.Size]byte
	// latest is what the bytes say; good is the latest content without a
	// problem, nil if there was none.
	latest, good *content
	// stale is why what is in force is older than the file; empty if it is not.
	stale string
}

// load brings the file up to date with data. An edit that an API server would
// have refused leaves the last good objects in force, as there.
func (f *file) load(data []byte, nodeName string) {
	if len(data) == 0 && f.good != nil && len(f.good.items) > 0 {
		// Most likely somebody is about to write it.
		f.stale = "is empty: what it held before stays in force; remove the file to remove its objects"
		return
	}
	f.stale = ""
	if sum := sha256.Sum256(data); f.latest == nil || sum != f.sum {
		f.sum, f.latest = sum, decode(f.path, data, nodeName)
		if len(f.latest.problems) == 0 {
			f.good = f.latest
		}
	}
	if f.latest != f.good && f.good != nil {
		f.stale = "has problems: what it held before stays in force"
	}
}

// fail notes that the file cannot be read now.
func (f *file) fail(err error) {
	f.stale = fmt.Sprintf("cannot be read: %v", err)
	if f.good != nil {
		f.stale += "; what it held before stays in force"
	}
}

// inForce is what is served of the file, nil for nothing: its last good
// content; where it never had any, the valid part of what it has.
func (f *file) inForce() *content {
	if f.good != nil {
		return f.good
	}
	return f.latest
}

// isManifest reports whether a file in a folder is read. Names with a leading
// dot are not: the kubelet keeps the versions of a ConfigMap volume under such
// names, editors their swap files.
func isManifest(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// A listing is what there is to read under a path.
type listing struct {
	// files are sorted. A file that was named itself is read whatever its name.
	files []string
	// folders are those in which a change can matter to the files.
	folders []string
	// named is path itself, where in its parent folder nothing else matters.
	named string
	// unread are folders and files that could not be looked at, with the reason.
	unread map[string]error
}

// list finds the files under path. Symbolic links to files are followed; those
// to folders only at path itself.
func list(path string) (listing, error) {
	l := listing{unread: map[string]error{}}
	err := l.find(path)
	slices.Sort(l.files)
	l.addParent(path)
	return l, err
}

// addParent watches for path itself being replaced. What a symbolic link in
// the parent folder leads through may be in that folder, too.
func (l *listing) addParent(path string) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil || slices.Contains(l.folders, parent) {
		return
	}
	l.folders = append(l.folders, parent)
	if !isLink(path) {
		l.named = filepath.Join(parent, filepath.Base(path))
	}
}

func isLink(path string) bool {
	stat, err := os.Lstat(path)
	return err == nil && stat.Mode()&fs.ModeSymlink != 0
}

func (l *listing) find(path string) error {
	stat, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !stat.IsDir() {
		l.addFile(path)
		return nil
	}
	root, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, name)
		if relErr != nil {
			return relErr
		}
		shown := filepath.Join(path, rel)
		return l.visit(shown, entry, err, rel == ".")
	})
}

func (l *listing) visit(name string, entry fs.DirEntry, err error, root bool) error {
	switch {
	case err != nil && root:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return nil // it has gone since its folder was read
	case err != nil:
		l.unread[name] = err
		return nil //nolint:nilerr // the others are still read
	case entry.IsDir() && !root && strings.HasPrefix(entry.Name(), "."):
		return fs.SkipDir
	case entry.IsDir():
		l.addFolder(name)
	case isManifest(entry.Name()):
		stat, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			l.unread[name] = err
		case stat.Mode().IsRegular(): // reading a pipe could take forever
			l.addFile(name)
		}
	}
	return nil
}

// addFolder adds a folder under its real name, so that it is there only once.
func (l *listing) addFolder(name string) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	if !slices.Contains(l.folders, name) {
		l.folders = append(l.folders, name)
	}
}

// addFile adds a file and, for a symbolic link, the folder that it leads to.
func (l *listing) addFile(name string) {
	l.files = append(l.files, name)
	if !isLink(name) {
		return
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		l.addFolder(filepath.Dir(target))
	}
}

// readFile reads at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("it is larger than %d bytes: split it", limit)
	}
	return data, err
}
