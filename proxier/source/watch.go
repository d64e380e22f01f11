package source

import (
	"path/filepath"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier/filewatch"
)

// newWatch is how manifests are watched.
func newWatch() *filewatch.Watch {
	return filewatch.New(filewatch.Options{Subject: "Manifests", Quiet: 100 * time.Millisecond, Patience: time.Second})
}

// watched are the folders of a listing.
func (l listing) watched() filewatch.Folders {
	f := filewatch.Folders{Paths: l.folders}
	if l.named != "" {
		f.Names = map[string][]string{filepath.Dir(l.named): {filepath.Base(l.named)}}
	}
	return f
}
