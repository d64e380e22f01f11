package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Stdin is the Path that means standard input.
const Stdin = "-"

// Manifests are objects in files: YAML with any number of documents, or JSON,
// each an object or a list as "kubectl get -o yaml" prints it. They are not
// safe for concurrent use, except Problems.
type Manifests struct {
	// Path is a file, a folder, in which *.yaml, *.yml and *.json are read at
	// any depth, or "-" for In.
	Path string
	// In is read when Path is "-"; nil means os.Stdin.
	In io.Reader
	// NodeName says which Node object is this node's; of the others, the addresses
	// count.
	// Without it, the only Node that is there is this one.
	NodeName string
	// MaxBytes is the largest file that is read; 0 means DefaultMaxBytes.
	MaxBytes int64
	// Report, where set, is given all problems that there are now, after the
	// first reading and whenever they change; none when all are solved. It is
	// only called by Run, in Run's goroutine. Without it Run logs them.
	Report func([]proxier.Problem)

	problems atomic.Pointer[[]proxier.Problem] // of the last reading by Run

	files map[string]*file
	read  bool // standard input has been read
}

// Problems are those that there are now, while Run follows the files. It is safe to
// call from any goroutine.
func (m *Manifests) Problems() []proxier.Problem {
	if now := m.problems.Load(); now != nil {
		return *now
	}
	return nil
}

// Load reads everything once. Objects that cannot be used, and whole documents
// that cannot be read, are in the problems; all others are in the objects. The
// error is for a Path that cannot be read at all.
//
// Called again it reads what has changed. A file that has problems now and had
// none before then still counts with its old content.
func (m *Manifests) Load() (*Objects, []proxier.Problem, error) {
	l, err := m.list()
	if err != nil {
		return nil, nil, err
	}
	objects, problems := m.load(l)
	return objects, problems, nil
}

// list finds what there is to read.
func (m *Manifests) list() (listing, error) {
	switch m.Path {
	case "":
		return listing{}, errors.New("manifests: no path is given")
	case Stdin:
		return listing{files: []string{standardInput}}, nil
	}
	l, err := list(m.Path)
	if err != nil {
		return l, fmt.Errorf("manifests: %w", err)
	}
	return l, nil
}

// standardInput stands for a file's name where there is none.
const standardInput = "standard input"

func (m *Manifests) load(l listing) (*Objects, []proxier.Problem) {
	old := m.files
	m.files = make(map[string]*file, len(l.files))
	var problems []proxier.Problem
	for _, name := range slices.Sorted(maps.Keys(l.unread)) {
		problems = append(problems, proxier.Problem{Kind: "Manifest", Name: name, Reason: fmt.Sprintf("cannot be read: %v", l.unread[name])})
		keepBelow(m.files, old, name)
	}
	for _, name := range l.files {
		f := old[name]
		if f == nil {
			f = &file{path: name}
		}
		if m.loadFile(f) {
			m.files[name] = f
		}
	}
	merged := merger{nodeName: m.NodeName, objects: &Objects{Skipped: map[string]int{}, Files: len(m.files)}, first: map[objectKey]string{}}
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		problems = append(problems, m.files[name].problems()...)
		merged.add(m.files[name].inForce())
	}
	return merged.objects, append(problems, merged.finish()...)
}

// keepBelow keeps the files of a folder that cannot be looked at.
func keepBelow(files, old map[string]*file, folder string) {
	for name, f := range old {
		if name == folder || strings.HasPrefix(name, folder+string(os.PathSeparator)) {
			files[name] = f
		}
	}
}

// loadFile reads one file; false means that it is gone.
func (m *Manifests) loadFile(f *file) bool {
	limit := m.MaxBytes
	if limit == 0 {
		limit = DefaultMaxBytes
	}
	var data []byte
	var err error
	switch {
	case m.Path != Stdin:
		data, err = readFile(f.path, limit)
	case m.read:
		return true
	default:
		m.read = true
		in := m.In
		if in == nil {
			in = os.Stdin
		}
		data, err = readAll(in, limit)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		f.fail(err)
	default:
		f.load(data, m.NodeName)
	}
	return true
}

// problems are those of the file's bytes, and whether they are in force.
func (f *file) problems() []proxier.Problem {
	var all []proxier.Problem
	if f.stale != "" {
		all = append(all, proxier.Problem{Kind: "Manifest", Name: f.path, Reason: f.stale})
	}
	if f.latest != nil {
		all = append(all, f.latest.problems...)
	}
	return all
}

type objectKey struct{ kind, namespace, name string }

// A merger makes one set of objects out of the contents of many files.
type merger struct {
	nodeName string
	objects  *Objects
	first    map[objectKey]string // where the object that is kept stands
	nodes    []string
	unnamed  []*corev1.Node // all, where nodeName is empty
	problems []proxier.Problem
}

func (m *merger) add(c *content) {
	if c == nil {
		return
	}
	for kind, n := range c.skipped {
		m.objects.Skipped[kind] += n
	}
	m.nodes = append(m.nodes, c.nodes...)
	for _, item := range c.items {
		key := objectKey{item.kind, item.object.GetNamespace(), item.object.GetName()}
		if first, twice := m.first[key]; twice {
			m.problems = append(m.problems, proxier.Problem{
				Kind: key.kind, Namespace: key.namespace, Name: key.name, Where: item.where,
				Reason: "is there twice: the one in " + first + " is kept",
			})
			continue
		}
		m.first[key] = item.where
		switch object := item.object.(type) {
		case *corev1.Service:
			m.objects.Services = append(m.objects.Services, object)
		case *discoveryv1.EndpointSlice:
			m.objects.EndpointSlices = append(m.objects.EndpointSlices, object)
		case *corev1.Node:
			if m.nodeName == "" {
				m.unnamed = append(m.unnamed, object)
				continue
			}
			if object.Name != m.nodeName {
				m.objects.OtherNodes = append(m.objects.OtherNodes, object)
				continue
			}
			m.objects.Node = object
		}
	}
}

// finish is the problems of the whole. That every Node is another one is most
// likely a wrong node name, with which no endpoint would count as local.
func (m *merger) finish() []proxier.Problem {
	if len(m.unnamed) == 1 {
		m.objects.Node = m.unnamed[0]
	}
	if m.objects.Node == nil && len(m.nodes) > 0 {
		slices.Sort(m.nodes)
		names := slices.Compact(m.nodes)
		if len(names) > 5 {
			names = append(slices.Clone(names[:5]), "...")
		}
		m.problems = append(m.problems, proxier.Problem{
			Kind: "Node", Name: m.nodeName, Field: "metadata.name",
			Reason: fmt.Sprintf("is none of the Nodes that are there (%s): is the node's name right?", strings.Join(names, ", ")),
		})
	}
	return m.problems
}
