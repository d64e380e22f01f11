package source

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// deadline bounds every wait for something that happens in another goroutine.
const deadline = 10 * time.Second

// running is a source that runs.
type running struct {
	t     *testing.T
	store *proxier.Store
	wake  <-chan struct{}
	stop  context.CancelFunc
	done  chan error

	mu       sync.Mutex
	problems []string
	reported chan struct{}
}

// quietly is a context whose logger writes nothing.
func quietly(t *testing.T) context.Context {
	t.Helper()
	return klog.NewContext(context.Background(), ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true))))
}

// logged is what was logged to a context of quietly.
func logged(ctx context.Context) string {
	return klog.FromContext(ctx).GetSink().(ktesting.Underlier).GetBuffer().String()
}

// start runs a source until the test ends.
func start(t *testing.T, run func(context.Context, *proxier.Store) error) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(quietly(t))
	r := &running{t: t, store: proxier.NewStore(), stop: cancel, done: make(chan error, 1), reported: make(chan struct{}, 1)}
	r.wake = r.store.Watch()
	go func() { r.done <- run(ctx, r.store) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(deadline):
			t.Error("Run did not end")
		}
	})
	return r
}

func startManifests(t *testing.T, m *Manifests) *running {
	t.Helper()
	var r *running
	ready := make(chan struct{})
	m.Report = func([]proxier.Problem) {
		<-ready
		r.mu.Lock()
		r.problems = texts(m.Problems())
		r.mu.Unlock()
		select {
		case r.reported <- struct{}{}:
		default:
		}
	}
	r = start(t, m.Run)
	close(ready)
	return r
}

// services are the names of the Services in the store, with their addresses.
func (r *running) services() []string {
	var names []string
	for _, o := range r.store.Snapshot().Services {
		if o.Service == nil {
			names = append(names, o.Name.Name+" only slices")
			continue
		}
		names = append(names, o.Name.Name+" "+o.Service.Spec.ClusterIP)
	}
	return names
}

// serves waits until the synced store has exactly these Services.
func (r *running) serves(want ...string) {
	r.t.Helper()
	timeout := time.After(deadline)
	for !r.store.Synced() || !slices.Equal(r.services(), want) {
		select {
		case <-r.wake:
		case <-timeout:
			r.t.Fatalf("synced %v, serves %q, want %q", r.store.Synced(), r.services(), want)
		}
	}
}

// complains waits until the problems are these; each contains a text.
func (r *running) complains(want ...string) {
	r.t.Helper()
	timeout := time.After(deadline)
	for {
		r.mu.Lock()
		problems := slices.Clone(r.problems)
		r.mu.Unlock()
		if slices.EqualFunc(problems, want, strings.Contains) {
			return
		}
		select {
		case <-r.reported:
		case <-timeout:
			r.t.Fatalf("problems %q, want %q", problems, want)
		}
	}
}

// replace writes a file elsewhere and renames it into its place.
func replaceFile(t *testing.T, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	write(t, text, name+".new")
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func TestRunFollowsAFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, service("a", "10.0.0.1"), dir, "a.yaml")
	r := startManifests(t, &Manifests{Path: dir})
	r.serves("a 10.0.0.1")

	write(t, service("b", "10.0.0.2"), dir, "b.yaml")
	r.serves("a 10.0.0.1", "b 10.0.0.2")

	replaceFile(t, service("a", "10.0.0.7"), dir, "a.yaml")
	r.serves("a 10.0.0.7", "b 10.0.0.2")

	write(t, service("c", "10.0.0.3"), dir, "new", "folder", "c.yaml")
	r.serves("a 10.0.0.7", "b 10.0.0.2", "c 10.0.0.3")
	write(t, service("c", "10.0.0.4"), dir, "new", "folder", "c.yaml")
	r.serves("a 10.0.0.7", "b 10.0.0.2", "c 10.0.0.4")

	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	r.serves("a 10.0.0.7", "c 10.0.0.4")
	if err := os.RemoveAll(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	r.serves("a 10.0.0.7")
}

func TestRunFollowsEndpoints(t *testing.T) {
	dir := t.TempDir()
	write(t, web+"---"+webSlice, dir, "web.yaml")
	r := startManifests(t, &Manifests{Path: dir})
	r.serves("web 10.0.0.1")
	replaceFile(t, web+"---"+strings.Replace(webSlice, "10.1.0.1", "10.1.0.2", 1), dir, "web.yaml")
	addresses := func() string {
		for target := range proxier.Build(nil, r.store.Snapshot(), proxier.Options{Family: proxier.IPv4}).Targets {
			return target.Endpoints[0].Addr.Addr().String()
		}
		return ""
	}
	for timeout := time.After(deadline); addresses() != "10.1.0.2"; {
		select {
		case <-r.wake:
		case <-timeout:
			t.Fatalf("endpoint %s, want 10.1.0.2", addresses())
		}
	}
}

func TestRunFollowsASingleFile(t *testing.T) {
	dir := t.TempDir()
	write(t, service("a", "10.0.0.1"), dir, "a.yaml")
	write(t, service("stranger", "10.0.0.9"), dir, "b.yaml")
	r := startManifests(t, &Manifests{Path: filepath.Join(dir, "a.yaml")})
	r.serves("a 10.0.0.1")
	write(t, service("a", "10.0.0.2"), dir, "a.yaml")
	r.serves("a 10.0.0.2")
	replaceFile(t, service("a", "10.0.0.3"), dir, "a.yaml")
	r.serves("a 10.0.0.3")
}

// link makes or replaces a symbolic link at once, as the kubelet does.
func link(t *testing.T, target string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.Symlink(target, name+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+"_tmp", name); err != nil {
		t.Fatal(err)
	}
}

func TestRunFollowsAConfigMapVolume(t *testing.T) {
	for name, path := range map[string]string{"folder": "", "file": "a.yaml"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, service("a", "10.0.0.1"), dir, "..1", "a.yaml")
			link(t, "..1", dir, "..data")
			link(t, "..data/a.yaml", dir, "a.yaml")
			r := startManifests(t, &Manifests{Path: filepath.Join(dir, path)})
			r.serves("a 10.0.0.1")
			for _, ip := range []string{"10.0.0.2", "10.0.0.3"} {
				version := "..v" + ip
				write(t, service("a", ip), dir, version, "a.yaml")
				link(t, version, dir, "..data")
				r.serves("a " + ip)
			}
			if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
				t.Fatal(err)
			}
			write(t, service("a", "10.0.0.4"), dir, "..v10.0.0.3", "a.yaml") // in place, behind the links
			r.serves("a 10.0.0.4")
		})
	}
}

func TestRunFollowsALinkToAFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, service("a", "10.0.0.1"), dir, "v1", "a.yaml")
	write(t, service("b", "10.0.0.2"), dir, "v2", "b.yaml")
	link(t, "v1", dir, "current")
	r := startManifests(t, &Manifests{Path: filepath.Join(dir, "current")})
	r.serves("a 10.0.0.1")
	link(t, "v2", dir, "current")
	r.serves("b 10.0.0.2")
	write(t, service("b", "10.0.0.3"), dir, "v2", "b.yaml")
	r.serves("b 10.0.0.3")
}

func TestRunKeepsWhatABrokenEditWouldRemove(t *testing.T) {
	for name, broken := range map[string]string{
		"unparsable":        service("a", "10.0.0.9") + "---\n[",
		"partly unreadable": service("a", "10.0.0.9") + "---" + strings.Replace(web, "port: 80", "port: http", 1),
		"empty":             "",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, service("a", "10.0.0.1"), dir, "a.yaml")
			write(t, service("b", "10.0.0.2"), dir, "b.yaml")
			r := startManifests(t, &Manifests{Path: dir})
			r.serves("a 10.0.0.1", "b 10.0.0.2")
			write(t, broken, dir, "a.yaml")
			write(t, service("b", "10.0.0.3"), dir, "b.yaml")
			r.serves("a 10.0.0.1", "b 10.0.0.3")
			want := []string{"a.yaml: has problems: what it held before stays in force", "a.yaml"}
			if broken == "" {
				want = []string{"a.yaml: is empty: what it held before stays in force"}
			}
			r.complains(want...)
			write(t, service("a", "10.0.0.4"), dir, "a.yaml")
			r.serves("a 10.0.0.4", "b 10.0.0.3")
			r.complains()
		})
	}
}

func TestRunServesTheValidPartOfAFileThatNeverWasGood(t *testing.T) {
	dir := t.TempDir()
	write(t, service("a", "10.0.0.1")+"---\n[", dir, "a.yaml")
	r := startManifests(t, &Manifests{Path: dir})
	r.serves("a 10.0.0.1")
	r.complains("document 2")
	write(t, service("a", "10.0.0.2")+"---\n[", dir, "a.yaml")
	r.serves("a 10.0.0.2")
}

func TestRunKeepsServingWhenThePathGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "manifests")
	write(t, service("a", "10.0.0.1"), dir, "a.yaml")
	r := startManifests(t, &Manifests{Path: dir})
	r.serves("a 10.0.0.1")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	r.complains("what it held before stays in force")
	r.serves("a 10.0.0.1")
	write(t, service("b", "10.0.0.2"), dir, "b.yaml")
	r.serves("b 10.0.0.2")
	r.complains()
}

func TestRunKeepsTheNode(t *testing.T) {
	dir := t.TempDir()
	write(t, "apiVersion: v1\nkind: Node\nmetadata: {name: here, labels: {topology.kubernetes.io/zone: z, a: b}}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.1}], nodeInfo: {osImage: x}}\n", dir, "node.yaml")
	r := startManifests(t, &Manifests{Path: dir, NodeName: "here"})
	r.serves()
	if err := os.Remove(filepath.Join(dir, "node.yaml")); err != nil {
		t.Fatal(err)
	}
	write(t, web, dir, "web.yaml")
	r.serves("web 10.0.0.1")
	node := r.store.Snapshot().Node
	if node == nil || node.Labels["topology.kubernetes.io/zone"] != "z" || node.Status.Addresses[0].Address != "192.0.2.1" {
		t.Fatalf("node %v", node)
	}
	if len(node.Labels) != 1 || node.Status.NodeInfo.OSImage != "" {
		t.Errorf("not stripped: %v", node)
	}
}

func TestRunReadsStandardInputOnce(t *testing.T) {
	in, out := io.Pipe()
	r := startManifests(t, &Manifests{Path: Stdin, In: in})
	if _, err := io.WriteString(out, web); err != nil {
		t.Fatal(err)
	}
	if r.store.Synced() {
		t.Error("synced before the end of the input")
	}
	out.Close()
	r.serves("web 10.0.0.1")
}

func TestRunEndsWhileStandardInputStaysOpen(t *testing.T) {
	in, out := io.Pipe()
	t.Cleanup(func() { out.Close() })
	r := startManifests(t, &Manifests{Path: Stdin, In: in})
	r.stop() // and the cleanup sees Run end
}

func TestRunFailsWithoutAPath(t *testing.T) {
	store := proxier.NewStore()
	err := (&Manifests{Path: filepath.Join(t.TempDir(), "none")}).Run(t.Context(), store)
	if err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v", err)
	}
	if store.Synced() {
		t.Error("the store has synced: everything would be removed from the kernel")
	}
}
