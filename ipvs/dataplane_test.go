package ipvs_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// config is that of a node whose kube-ipvs0 has every address of clustergen's
// Services.
func config() ipvs.Config {
	return ipvs.Config{
		Ownership:    ipvs.Ownership{NodePorts: ipvs.DefaultNodePorts},
		Addresses:    func(context.Context) (ipvs.Addresses, error) { return ipvs.Addresses{Node: nodeAddresses}, nil },
		DrainTimeout: ipvs.DefaultDrainTimeout,
	}
}

func plan(t testing.TB, d *ipvs.Dataplane, state *proxier.State) proxier.Plan {
	t.Helper()
	p, err := d.Plan(context.Background(), state)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t testing.TB, d *ipvs.Dataplane, state *proxier.State) []proxier.Refusal {
	t.Helper()
	refused, err := plan(t, d, state).Apply(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return refused
}

func mustBeEmpty(t testing.TB, p proxier.Plan) {
	t.Helper()
	if !p.Empty() {
		t.Errorf("the plan is not empty:\n%s", p)
	}
}

func TestOneApplyReachesTheFixpoint(t *testing.T) {
	kernel := ipvstest.New(proxier.IPv6)
	state := build(clustergen.Uniform(100, 3), proxier.IPv6)
	d := ipvs.NewDataplane(kernel, config())
	apply(t, d, state)
	mustBeEmpty(t, plan(t, d, state))
	if diff := cmp.Diff(ipvs.Text(ipvs.Compile(nil, state, options()).Servers), kernel.String()); diff != "" {
		t.Errorf("-want +kernel:\n%s", diff)
	}
	d.Forget()
	mustBeEmpty(t, plan(t, d, state))
	mustBeEmpty(t, plan(t, ipvs.NewDataplane(kernel, config()), state))
	if n := len(kernel.Ops()); n != 400 {
		t.Errorf("%d operations, want 400", n)
	}
}

// What is sent after a change, and nothing else.
func TestOnlyWhatChangedIsSent(t *testing.T) {
	store := clustergen.Uniform(3, 2)
	kernel := ipvstest.New(proxier.IPv4)
	d := ipvs.NewDataplane(kernel, config())
	apply(t, d, build(store, proxier.IPv4))
	for _, test := range []struct {
		name   string
		change func()
		want   string
	}{
		{
			"an endpoint is replaced", func() { store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 2, 1)) },
			"-a -t 10.96.0.0:80 -r 10.247.13.67:8080 -m -w 1\n-e -t 10.96.0.0:80 -r 10.244.0.2:8080 -m -w 0\n",
		},
		{"a Service asks for affinity", func() {
			s := clustergen.Service(1)
			s.Spec.SessionAffinity = "ClientIP"
			store.SetService(s)
		}, "-E -t 10.96.0.22:80 -s rr -p 10800\n"},
		{"a weight is given", func() {
			slice := clustergen.Slice(1, proxier.IPv4, 2, 0)
			slice.Annotations = map[string]string{proxier.WeightsAnnotation: "10.244.0.4=0,10.244.0.5=9"}
			store.SetEndpointSlice(slice)
		}, "-e -t 10.96.0.22:80 -r 10.244.0.5:8080 -m -w 9\n-e -t 10.96.0.22:80 -r 10.244.0.4:8080 -m -w 0\n"},
		{"a Service goes", func() {
			store.DeleteService(types.NamespacedName{Namespace: "ns-2", Name: "service-2"})
		}, "-D -t 10.96.0.45:80\n"},
		{"all endpoints go", func() {
			store.SetEndpointSlice(clustergen.Slice(1, proxier.IPv4, 0, 0))
		}, "-e -t 10.96.0.22:80 -r 10.244.0.5:8080 -m -w 0\n"},
		{"an endpoint comes back", func() { store.SetEndpointSlice(clustergen.Slice(1, proxier.IPv4, 1, 0)) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.change()
			state := build(store, proxier.IPv4)
			p := plan(t, d, state)
			sent := len(kernel.Ops())
			if _, err := p.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if p.String() != ipvs.OpsText(kernel.Ops()[sent:]) {
				t.Errorf("planned\n%s\nbut sent\n%s", p, ipvs.OpsText(kernel.Ops()[sent:]))
			}
			if test.want != "" && p.String() != test.want {
				t.Errorf("-want +got:\n%s", cmp.Diff(test.want, p.String()))
			}
			if p.Diff() == "" {
				t.Error("a plan that does something shows no difference")
			}
			mustBeEmpty(t, plan(t, d, state))
		})
	}
	if lists, _ := kernel.Lists(); lists != 1 {
		t.Errorf("the kernel was listed %d times, want once", lists)
	}
}

func TestADifferenceIsShownByVirtualServer(t *testing.T) {
	store := clustergen.Uniform(1, 2)
	kernel := ipvstest.New(proxier.IPv4)
	kernel.Must("-A -t 10.96.0.0:80 -s wlc", "-a -t 10.96.0.0:80 -r 10.244.0.2:8080 -m -w 1", "-a -t 10.96.0.0:80 -r 10.244.0.9:8080 -m -w 1")
	p := plan(t, ipvs.NewDataplane(kernel, config()), build(store, proxier.IPv4))
	const want = `--- kernel ipvs -t 10.96.0.0:80
+++ wanted ipvs -t 10.96.0.0:80
@@ -1,3 +1,4 @@
--A -t 10.96.0.0:80 -s wlc
+-A -t 10.96.0.0:80 -s rr
 -a -t 10.96.0.0:80 -r 10.244.0.2:8080 -m -w 1
--a -t 10.96.0.0:80 -r 10.244.0.9:8080 -m -w 1
+-a -t 10.96.0.0:80 -r 10.244.0.3:8080 -m -w 1
+-a -t 10.96.0.0:80 -r 10.244.0.9:8080 -m -w 0
`
	if diff := cmp.Diff(want, p.Diff()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestOwnership(t *testing.T) {
	foreign := map[string]string{ // virtual server -> why it is what it is
		"-t 192.0.2.80:80":      "anywhere",
		"-t 172.18.0.11:8080":   "the node's address, no node port",
		"-t 10.96.99.1:80":      "on kube-ipvs0",
		"-u 10.96.99.2:53":      "on kube-ipvs0, excluded",
		"-t 172.18.0.11:30999":  "the node's address, a node port",
		"-t 172.18.0.12:30999":  "nobody's address",
		"-t 10.96.0.0:80":       "wanted",
		"-t [fd00:10:96::1]:80": "the other family",
	}
	run := func(o ipvs.Ownership) (kept []string) {
		kernel := ipvstest.New(proxier.IPv4)
		for place := range foreign {
			if !strings.Contains(place, "[") {
				kernel.Must("-A " + place + " -s wlc")
			}
		}
		c := config()
		c.Ownership = o
		c.Addresses = func(context.Context) (ipvs.Addresses, error) {
			bound, _ := proxier.ParsePrefixes([]string{"10.96.99.1/32", "10.96.99.2/32"})
			return ipvs.Addresses{Node: nodeAddresses, Bound: append(nodeAddresses[:0:0], bound[0].Addr(), bound[1].Addr())}, nil
		}
		d := ipvs.NewDataplane(kernel, c)
		state := build(clustergen.Uniform(1, 1), proxier.IPv4)
		apply(t, d, state)
		d.Forget()
		mustBeEmpty(t, plan(t, d, state))
		for line := range strings.Lines(kernel.String()) {
			if place, ok := strings.CutPrefix(strings.TrimSpace(line), "-A "); ok {
				kept = append(kept, place)
			}
		}
		return kept
	}
	exclude, _ := proxier.ParsePrefixes([]string{"10.96.99.2/31"})
	o := ipvs.Ownership{NodePorts: ipvs.DefaultNodePorts, Exclude: exclude}
	want := []string{
		"-t 10.96.0.0:80 -s rr", "-u 10.96.99.2:53 -s wlc", "-t 172.18.0.11:8080 -s wlc",
		"-t 172.18.0.12:30999 -s wlc", "-t 192.0.2.80:80 -s wlc",
	}
	if diff := cmp.Diff(want, run(o)); diff != "" {
		t.Errorf("foreign ones are left alone, -want +got:\n%s", diff)
	}
	o.RemoveForeign = true
	if diff := cmp.Diff([]string{"-t 10.96.0.0:80 -s rr", "-u 10.96.99.2:53 -s wlc"}, run(o)); diff != "" {
		t.Errorf("all but excluded ones are removed, -want +got:\n%s", diff)
	}
}

// Where the place does not tell that a virtual server is ours, the process that
// made it knows, also after it had to forget what the kernel holds.
func TestWhatThisProcessMadeIsOurs(t *testing.T) {
	exclude, _ := proxier.ParsePrefixes([]string{"10.96.0.0/16"})
	fail := func(kernel *ipvstest.Kernel, after int) {
		kernel.FailOp = func(int) error {
			if after--; after < 0 {
				return syscall.ENOMEM
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		// before the Service is deleted, in a pass that nothing has failed in yet
		before func(d *ipvs.Dataplane, kernel *ipvstest.Kernel, pass func())
		leaves bool // the address leaves the node
	}{
		"somebody has changed something": {before: func(d *ipvs.Dataplane, _ *ipvstest.Kernel, pass func()) { pass(); d.Forget() }},
		"twice":                          {before: func(d *ipvs.Dataplane, _ *ipvstest.Kernel, pass func()) { pass(); d.Forget(); pass(); d.Forget() }},
		"its address has left the node":  {before: func(d *ipvs.Dataplane, _ *ipvstest.Kernel, pass func()) { pass(); d.Forget() }, leaves: true},
		"the first pass fails half way": {before: func(_ *ipvs.Dataplane, kernel *ipvstest.Kernel, pass func()) {
			fail(kernel, 5)
			pass()
			kernel.FailOp = nil
		}},
		"its deletion fails": {before: func(d *ipvs.Dataplane, kernel *ipvstest.Kernel, pass func()) { pass(); d.Forget(); fail(kernel, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			const foreign = "-A -t 172.18.0.11:9999 -s wlc\n"
			kernel := ipvstest.New(proxier.IPv4)
			kernel.Must(strings.TrimSpace(foreign))
			node := nodeAddresses
			c := config()
			c.Addresses = func(context.Context) (ipvs.Addresses, error) { return ipvs.Addresses{Node: node}, nil }
			c.Ownership.Exclude = exclude
			store := clustergen.Uniform(1, 1)
			service := clustergen.Service(0)
			service.Spec.Type, service.Spec.ExternalIPs = "NodePort", []string{"172.18.0.11"}
			service.Spec.Ports[0].NodePort = 8443
			store.SetService(service)
			d := ipvs.NewDataplane(kernel, c)
			pass := func() { _, _ = plan(t, d, build(store, proxier.IPv4)).Apply(t.Context()) }
			test.before(d, kernel, pass)
			if n := strings.Count(kernel.String(), "-A "); n < 3 {
				t.Fatalf("there are %d virtual servers", n)
			}
			store.DeleteService(types.NamespacedName{Namespace: service.Namespace, Name: service.Name})
			if test.leaves {
				node = nodeAddresses[1:]
			}
			pass()
			kernel.FailOp = nil
			d.Forget()
			pass()
			if diff := cmp.Diff(foreign, kernel.String()); diff != "" {
				t.Errorf("after the Service is gone (- want, + have):\n%s", diff)
			}
		})
	}
}

// kube-proxy's virtual servers are taken over: those that are as ours would be
// are not touched.
func TestTakingOverFromKubeProxy(t *testing.T) {
	dump := dumpLines(t)
	for _, family := range proxier.Families {
		kernel := ipvstest.New(family)
		for _, line := range dump {
			if o, err := ipvs.ParseOp(line); err != nil || o.Place.Family() != family {
				continue
			}
			kernel.Must(line)
		}
		state := build(recorded(t), family)
		d := ipvs.NewDataplane(kernel, config())
		for _, line := range strings.Split(strings.TrimSpace(plan(t, d, state).String()), "\n") {
			o, err := ipvs.ParseOp(line)
			if line != "" && (err != nil || o.Kind != ipvs.DeleteService && o.Kind != ipvs.UpdateServer) {
				t.Errorf("%s: %s (%v)", family, line, err)
			}
		}
		apply(t, d, state)
		mustBeEmpty(t, plan(t, d, state))
	}
}

func TestEssentialsComeFirst(t *testing.T) {
	store := clustergen.Uniform(5, 1)
	service, slice := clustergen.Service(9), clustergen.Slice(9, proxier.IPv4, 1, 0)
	service.Namespace, service.Name = "default", "kubernetes"
	slice.Namespace, slice.Labels["kubernetes.io/service-name"] = "default", "kubernetes"
	store.SetService(service)
	store.SetEndpointSlice(slice)
	p := plan(t, ipvs.NewDataplane(ipvstest.New(proxier.IPv4), config()), build(store, proxier.IPv4))
	if !strings.HasPrefix(p.String(), "-A -t "+service.Spec.ClusterIP+":80 ") {
		t.Errorf("the API server does not come first:\n%.300s", p)
	}
}

func TestWhatTheKernelRefusesIsLeftOut(t *testing.T) {
	kernel := ipvstest.New(proxier.IPv4)
	kernel.Schedulers = []string{"rr"}
	kernel.Refuse = func(o ipvs.Op) bool { return o.Server.Addr.String() == "10.244.0.4:8080" }
	store := clustergen.Uniform(4, 2)
	s := clustergen.Service(0)
	s.Annotations = map[string]string{proxier.SchedulerAnnotation: "lc"}
	store.SetService(s)
	d := ipvs.NewDataplane(kernel, config())
	state := build(store, proxier.IPv4)

	refused := apply(t, d, state)
	if len(refused) != 2 || refused[0].Target.Name.Name != "service-0" || refused[1].Target.Name.Name != "service-1" {
		t.Fatalf("refused: %v", refused)
	}
	for i, want := range []string{`no scheduler "lc": load the module ip_vs_lc`, `-r 10.244.0.4:8080 -m -w 1": invalid argument`} {
		if !strings.Contains(refused[i].Err.Error(), want) {
			t.Errorf("%v does not say %q", refused[i].Err, want)
		}
	}
	if n := strings.Count(kernel.String(), "\n"); n != 3*3-1 {
		t.Errorf("of two good Services and one good endpoint there is:\n%s", kernel)
	}
	if lists, _ := kernel.Lists(); lists != 1 {
		t.Errorf("the kernel was listed %d times, want once: a refusal is no drift", lists)
	}
	mustBeEmpty(t, plan(t, d, state))
	if again := apply(t, d, state); len(again) != 2 {
		t.Errorf("an empty plan reports %d Services refused, want 2", len(again))
	}
	d.Forget()
	mustBeEmpty(t, plan(t, d, state))

	kernel.Schedulers = nil
	s = clustergen.Service(0)
	s.Annotations = map[string]string{proxier.SchedulerAnnotation: "wlc"}
	store.SetService(s)
	if refused = apply(t, d, build(store, proxier.IPv4)); len(refused) != 1 {
		t.Errorf("a Service that changed is still refused: %v", refused)
	}
	if !strings.Contains(kernel.String(), "-A -t 10.96.0.0:80 -s wlc\n-a -t 10.96.0.0:80 -r 10.244.0.2:8080 -m -w 1\n") {
		t.Errorf("a Service that changed is not served:\n%s", kernel)
	}
}

// Somebody else writes what we believe to know: seen at the first answer that
// does not fit, and healed in the same pass.
func TestDriftIsHealedInThePass(t *testing.T) {
	for name, drift := range map[string]struct {
		edit   string
		change int // generation of the slice
	}{
		"a real server is gone":    {"-d -t 10.96.0.0:80 -r 10.244.0.2:8080", 1},
		"a virtual server is gone": {"-D -t 10.96.0.0:80", 1},
		"a real server is there":   {"-a -t 10.96.0.0:80 -r 10.247.13.67:8080 -g -w 7", 1},
	} {
		t.Run(name, func(t *testing.T) {
			store := clustergen.Uniform(2, 2)
			kernel := ipvstest.New(proxier.IPv4)
			c := config()
			c.DrainTimeout = 0
			d := ipvs.NewDataplane(kernel, c)
			apply(t, d, build(store, proxier.IPv4))
			kernel.Must(drift.edit)
			store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 2, drift.change))
			state := build(store, proxier.IPv4)
			apply(t, d, state)
			if diff := cmp.Diff(ipvs.Text(ipvs.Compile(nil, state, options()).Servers), kernel.String()); diff != "" {
				t.Errorf("-want +kernel:\n%s", diff)
			}
			mustBeEmpty(t, plan(t, d, state))
			if lists, _ := kernel.Lists(); lists != 2 {
				t.Errorf("the kernel was listed %d times, want at the start and after the drift", lists)
			}
		})
	}
}

func TestAnotherErrorEndsThePass(t *testing.T) {
	kernel := ipvstest.New(proxier.IPv4)
	d := ipvs.NewDataplane(kernel, config())
	state := build(clustergen.Uniform(2, 2), proxier.IPv4)
	kernel.FailOp = func(n int) error {
		if n == 3 {
			return syscall.EPERM
		}
		return nil
	}
	_, err := plan(t, d, state).Apply(t.Context())
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "2 of 6") {
		t.Errorf("error %v, want EPERM after 2 of 6 operations", err)
	}
	kernel.FailOp = nil
	apply(t, d, state)
	mustBeEmpty(t, plan(t, d, state))
	if n := len(kernel.Ops()); n != 6 {
		t.Errorf("%d operations, want those that were missing: 6 together", n)
	}
}

// Any history of changes, with every tenth operation failing, restarts and
// strangers' edits, ends in what a fresh start makes, once all has drained. What a
// Service had that goes while no process runs is known to be ours by its place only,
// so that here all is ours where there are restarts.
func TestAnyHistoryEndsInTheFixpoint(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 2))
		family, restarts := proxier.Families[seed%2], seed%4 < 2
		kernel := ipvstest.New(family)
		kernel.FailOp = func(int) error {
			if r.IntN(10) > 0 {
				return nil
			}
			return []error{syscall.ENOMEM, syscall.EPERM, context.DeadlineExceeded}[r.IntN(3)]
		}
		now := time.Unix(0, 0)
		c := config()
		c.Ownership.RemoveForeign = restarts
		c.Now = func() time.Time { return now }
		cluster := clustergen.NewRandom(seed, 30)
		d := ipvs.NewDataplane(kernel, c)
		var state *proxier.State
		for range 150 {
			cluster.Step()
			now = now.Add(time.Duration(r.IntN(100)) * time.Second)
			state = proxier.Build(state, cluster.Store.Snapshot(), clustergen.Options(family))
			switch what := r.IntN(20); {
			case what == 0 && restarts:
				d = ipvs.NewDataplane(kernel, c)
			case what <= 1:
				stranger(r, kernel)
				d.Forget()
			}
			_, _ = plan(t, d, state).Apply(t.Context())
		}
		kernel.FailOp = nil
		d.Forget()
		apply(t, d, state)
		now = now.Add(ipvs.DefaultDrainTimeout)
		apply(t, d, state)
		mustBeEmpty(t, plan(t, d, state))
		fresh := ipvstest.New(family)
		apply(t, ipvs.NewDataplane(fresh, c), state)
		if diff := cmp.Diff(fresh.String(), kernel.String()); diff != "" {
			t.Errorf("seed %d: -fresh start +after the history:\n%s", seed, diff)
		}
	}
}

// stranger deletes or changes some virtual server.
func stranger(r *rand.Rand, kernel *ipvstest.Kernel) {
	fail := kernel.FailOp
	kernel.FailOp = nil
	defer func() { kernel.FailOp = fail }()
	lines := strings.Split(strings.TrimSpace(kernel.String()), "\n")
	line := lines[r.IntN(len(lines))]
	switch o, err := ipvs.ParseOp(line); {
	case err != nil: // there is nothing
	case o.OnService() && r.IntN(2) == 0:
		kernel.Must("-D " + o.Place.String())
	case o.OnService():
		kernel.Must("-E " + o.Place.String() + " -s lc -p 5")
	case r.IntN(2) == 0:
		kernel.Must("-d " + o.Place.String() + " -r " + o.Server.Addr.String())
	default:
		kernel.Must("-e " + o.Place.String() + " -r " + o.Server.Addr.String() + " -g -w 77")
	}
}

// Time ends drains, strangers cause drift.
func TestAPlanTellsDriftFromTheEndOfADrain(t *testing.T) {
	store := clustergen.Uniform(2, 2)
	kernel := ipvstest.New(proxier.IPv4)
	d := ipvs.NewDataplane(kernel, config())
	apply(t, d, build(store, proxier.IPv4))
	for _, generation := range []int{1, 2} {
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 2, generation))
		apply(t, d, build(store, proxier.IPv4))
	}
	store.SetEndpointSlice(clustergen.Slice(1, proxier.IPv4, 0, 0))
	state := build(store, proxier.IPv4)
	apply(t, d, state)
	drift := func() proxier.DriftFinding {
		d.Forget()
		p := plan(t, d, state)
		if p.Empty() {
			t.Error("there is nothing to do")
		}
		return p.Findings().Drift
	}
	if drift() != proxier.DriftNone {
		t.Errorf("the end of drains is taken for drift:\n%s", plan(t, d, state))
	}
	kernel.Must("-e -t 10.96.0.0:80 -r 10.244.0.3:8080 -m -w 9")
	if drift() != proxier.DriftUnknown {
		t.Errorf("somebody else's weight is taken for the end of a drain:\n%s", plan(t, d, state))
	}
}

// A kernel that is changed by somebody else while we write.
type disturbed struct {
	*ipvstest.Kernel
	disturb func()
}

func (k disturbed) Do(ctx context.Context, ops []ipvs.Op) (int, error) {
	defer k.disturb()
	return k.Kernel.Do(ctx, ops)
}

func TestForgetInTheMiddleOfAnApplyIsNotLost(t *testing.T) {
	kernel := disturbed{Kernel: ipvstest.New(proxier.IPv4)}
	var d *ipvs.Dataplane
	kernel.disturb = func() {
		kernel.Must("-D -t 10.96.0.0:80")
		d.Forget()
	}
	d = ipvs.NewDataplane(&kernel, config())
	state := build(clustergen.Uniform(2, 2), proxier.IPv4)
	apply(t, d, state)
	if plan(t, d, state).Empty() {
		t.Error("the kernel is believed to be as it was written, although somebody said it is not")
	}
}
