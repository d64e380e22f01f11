package ipvs_test

import (
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

var nodeAddresses = []netip.Addr{
	netip.MustParseAddr("172.18.0.11"), netip.MustParseAddr("10.0.2.15"),
	netip.MustParseAddr("fd00:172:18::11"), netip.MustParseAddr("fec0::5054:ff:fe12:3456"),
}

func options() ipvs.Options { return ipvs.Options{NodeAddresses: nodeAddresses} }

func build(store *proxier.Store, family proxier.Family) *proxier.State {
	return proxier.Build(nil, store.Snapshot(), clustergen.Options(family))
}

// storeOf is a store with the objects of manifests.
func storeOf(t testing.TB, m *source.Manifests) *proxier.Store {
	t.Helper()
	m.NodeName = clustergen.NodeName
	objects, problems, err := m.Load()
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	if objects.Node == nil {
		objects.Node = clustergen.Node()
	}
	store := proxier.NewStore()
	source.Fill(store, objects)
	store.SetSynced()
	return store
}

func manifests(t testing.TB, text string) *proxier.Store {
	t.Helper()
	return storeOf(t, &source.Manifests{Path: source.Stdin, In: strings.NewReader(text)})
}

// recorded are the objects kube-proxy ran on when the dumps were made.
func recorded(t testing.TB) *proxier.Store {
	t.Helper()
	return storeOf(t, &source.Manifests{Path: "../testdata/dumps/objects.json"})
}

// For the same objects our virtual servers are kube-proxy's, but for these.
func TestWhereOursDifferFromKubeProxys(t *testing.T) {
	const differences = `
-A -t 10.0.2.15:30086 -s rr
-A -t 10.0.2.15:31444 -s rr
-a -t 10.0.2.15:31444 -r 10.244.2.41:9443 -m -w 1
-A -t 10.96.0.1:443 -s rr
-A -t 10.96.10.6:80 -s rr
-A -t 172.18.0.11:30086 -s rr
-A -t 172.18.0.11:31444 -s rr
-a -t 172.18.0.11:31444 -r 10.244.2.41:9443 -m -w 1
-A -t 192.0.2.60:80 -s rr
-A -t 203.0.113.22:443 -s rr
-a -t 203.0.113.22:443 -r 10.244.2.41:9443 -m -w 1
`
	dump, err := os.ReadFile("../testdata/dumps/kube-proxy-ipvs.ipvsadm")
	if err != nil {
		t.Fatal(err)
	}
	store := recorded(t)
	ours := map[string]bool{}
	for _, family := range proxier.Families {
		for line := range strings.Lines(ipvs.Text(ipvs.Compile(nil, build(store, family), options()).Servers)) {
			ours[line] = true
		}
	}
	theirs := map[string]bool{}
	var only []string
	for line := range strings.Lines(string(dump)) {
		theirs[line] = true
		if !ours[line] {
			only = append(only, line)
		}
	}
	if diff := cmp.Diff(sorted(strings.TrimPrefix(differences, "\n")), slices.Sorted(slices.Values(only))); diff != "" {
		t.Errorf("what only kube-proxy has (-want +got): nobody answers, or nobody on this node:\n%s", diff)
	}
	for line := range ours {
		if !theirs[line] {
			t.Errorf("only we have %s", line)
		}
	}
}

const web = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {kube-proxier.io/ipvs-scheduler: SCHEDULER}}
spec:
  type: LoadBalancer
  clusterIP: 10.96.10.1
  clusterIPs: [10.96.10.1]
  externalIPs: [192.0.2.1]
  externalTrafficPolicy: POLICY
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 600}}
  ports: [{port: 80, protocol: TCP, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}, annotations: {kube-proxier.io/weights: "10.244.1.2=3,10.244.1.3=0"}}
addressType: IPv4
ports: [{name: "", port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.244.1.2], nodeName: node1}
- {addresses: [10.244.1.3], nodeName: node2}
- {addresses: [10.244.1.4], nodeName: node2}
`

func webStore(t testing.TB, scheduler, policy string) *proxier.Store {
	t.Helper()
	return manifests(t, strings.NewReplacer("SCHEDULER", scheduler, "POLICY", policy).Replace(web))
}

func TestAVirtualServerForEachFrontend(t *testing.T) {
	c := ipvs.Compile(nil, build(webStore(t, "mh", "Local"), proxier.IPv4), options())
	want := strings.ReplaceAll(`-A -t 10.0.2.15:30080 SETTINGS
-a -t 10.0.2.15:30080 -r 10.244.1.2:8080 -m -w 3
-A -t 10.96.10.1:80 SETTINGS
-a -t 10.96.10.1:80 -r 10.244.1.2:8080 -m -w 3
-a -t 10.96.10.1:80 -r 10.244.1.3:8080 -m -w 0
-a -t 10.96.10.1:80 -r 10.244.1.4:8080 -m -w 1
-A -t 172.18.0.11:30080 SETTINGS
-a -t 172.18.0.11:30080 -r 10.244.1.2:8080 -m -w 3
-A -t 192.0.2.1:80 SETTINGS
-a -t 192.0.2.1:80 -r 10.244.1.2:8080 -m -w 3
-A -t 203.0.113.1:80 SETTINGS
-a -t 203.0.113.1:80 -r 10.244.1.2:8080 -m -w 3
`, "SETTINGS", "-s mh -p 600 -b mh-port")
	if diff := cmp.Diff(want, ipvs.Text(c.Servers)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := c.Of(types.NamespacedName{Namespace: "shop", Name: "web"}); len(got) != len(c.Servers) {
		t.Errorf("%d of %d virtual servers are known to be the only Service's", len(got), len(c.Servers))
	}
	var addresses []string
	for _, a := range c.Addresses {
		addresses = append(addresses, a.Addr.String())
		if got := a.Services(); len(got) != 1 || got[0].String() != "shop/web" {
			t.Errorf("%s is said to be of %v", a.Addr, got)
		}
	}
	if diff := cmp.Diff([]string{"10.96.10.1", "192.0.2.1", "203.0.113.1"}, addresses); diff != "" {
		t.Errorf("addresses, -want +got:\n%s", diff)
	}
}

func TestNodePortsAreAtTheAddressesThatAreAllowed(t *testing.T) {
	o := clustergen.Options(proxier.IPv4)
	o.NodePortAddresses, _ = proxier.ParsePrefixes([]string{"172.18.0.0/16", "127.0.0.0/8"})
	state := proxier.Build(nil, webStore(t, "rr", "Cluster").Snapshot(), o)
	addrs := options()
	addrs.NodeAddresses = append(slices.Clone(nodeAddresses), netip.MustParseAddr("127.0.0.1"))
	var got []string
	for _, v := range ipvs.Compile(nil, state, addrs).Servers {
		if v.Addr.Port() == 30080 {
			got = append(got, v.Addr.String())
		}
	}
	if diff := cmp.Diff([]string{"172.18.0.11:30080"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAnAddressOnTheNodeWinsOverANodePort(t *testing.T) {
	const other = `
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec:
  clusterIP: 10.96.10.2
  clusterIPs: [10.96.10.2]
  externalIPs: [10.0.2.15]
  ports: [{port: 30080, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: other-1, namespace: shop, labels: {kubernetes.io/service-name: other}}
addressType: IPv4
ports: [{name: "", port: 9090, protocol: TCP}]
endpoints: [{addresses: [10.244.9.9]}]
`
	store := manifests(t, strings.NewReplacer("SCHEDULER", "rr", "POLICY", "Cluster").Replace(web)+other)
	c := ipvs.Compile(nil, build(store, proxier.IPv4), options())
	var got []string
	for _, v := range c.Servers {
		if v.Addr.Port() == 30080 {
			got = append(got, v.Addr.String()+" "+v.Servers[0].Addr.String())
		}
	}
	if diff := cmp.Diff([]string{"10.0.2.15:30080 10.244.9.9:9090", "10.96.10.2:30080 10.244.9.9:9090", "172.18.0.11:30080 10.244.1.2:8080"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSchedulers(t *testing.T) {
	for _, test := range []struct {
		name, annotation, global string
		available                map[string]bool
		want, problem            string
	}{
		{"nothing said", `""`, "", nil, "rr", ""},
		{"a global one", `""`, "wlc", map[string]bool{"wlc": true}, "wlc", ""},
		{"the Service's own", "sed", "wlc", map[string]bool{"wlc": true, "sed": true}, "sed", ""},
		{"one the kernel lacks", "sed", "wlc", map[string]bool{"wlc": true, "rr": true}, "wlc", "(rr, wlc): wlc is used"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := ipvs.Options{Scheduler: test.global, Available: test.available}
			c := ipvs.Compile(nil, build(webStore(t, test.annotation, "Cluster"), proxier.IPv4), o)
			for _, v := range c.Servers {
				if v.Scheduler != test.want {
					t.Errorf("%s has scheduler %s, want %s", v.Place, v.Scheduler, test.want)
				}
			}
			switch {
			case test.problem == "" && len(c.Problems) > 0:
				t.Errorf("problems: %v", c.Problems)
			case test.problem != "" && (len(c.Problems) != 1 || !strings.Contains(c.Problems[0].String(), test.problem)):
				t.Errorf("problems: %v, want one with %q", c.Problems, test.problem)
			}
		})
	}
}

func TestAGlobalSchedulerIsRefusedByName(t *testing.T) {
	available := []string{"rr", "wrr"}
	for scheduler, want := range map[string]string{"": "", "wrr": "", "wlc": "ip_vs_wlc", "best": "must be one of rr, wrr"} {
		err := ipvs.CheckScheduler(scheduler, available)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("scheduler %q: error %v, want %q", scheduler, err, want)
		}
	}
}

func TestSets(t *testing.T) {
	set := func(c *ipvs.Compiled, name string) (entries []string) {
		for _, s := range c.Sets {
			if s.Name != name {
				continue
			}
			for _, e := range s.Entries {
				text := strings.ToLower(string(e.Protocol))
				if e.Addr.IsValid() {
					text = e.Addr.String() + "," + text
				}
				entries = append(entries, text)
			}
		}
		return entries
	}
	state := func(policy string, o ipvs.Options) *ipvs.Compiled {
		return ipvs.Compile(nil, build(webStore(t, "rr", policy), proxier.IPv4), o)
	}
	own := options()
	own.NodeAddresses = append(slices.Clone(nodeAddresses), netip.MustParseAddr("192.0.2.1"))
	cluster, local, onNode := state("Cluster", options()), state("Local", options()), state("Cluster", own)
	for _, test := range []struct {
		c    *ipvs.Compiled
		name string
		want []string
	}{
		{cluster, ipset.ClusterIPs, []string{"10.96.10.1,tcp"}},
		{cluster, ipset.ExternalIPs, []string{"192.0.2.1,tcp", "203.0.113.1,tcp"}},
		{cluster, ipset.ExternalIPsLocal, nil},
		{cluster, ipset.NodePortsTCP, []string{""}},
		{cluster, ipset.NodePortsUDP, nil},
		{cluster, ipset.Bound, []string{"10.96.10.1,", "192.0.2.1,", "203.0.113.1,"}},
		{local, ipset.ExternalIPs, nil},
		{local, ipset.ExternalIPsLocal, []string{"192.0.2.1,tcp", "203.0.113.1,tcp"}},
		{local, ipset.NodePortsTCP, nil},
		{onNode, ipset.Bound, []string{"10.96.10.1,", "203.0.113.1,"}},
	} {
		if diff := cmp.Diff(test.want, set(test.c, test.name)); diff != "" {
			t.Errorf("%s, -want +got:\n%s", test.name, diff)
		}
	}
}

// Frontends nobody answers for have addresses, but no virtual server and no
// entry among those served.
func TestWhereNobodyAnswersThereIsOnlyTheAddress(t *testing.T) {
	text := web[:strings.Index(web, "---")]
	c := ipvs.Compile(nil, build(manifests(t, strings.NewReplacer("SCHEDULER", "rr", "POLICY", "Local").Replace(text)), proxier.IPv4), options())
	if len(c.Servers) != 0 || len(c.Addresses) != 3 {
		t.Errorf("%d virtual servers and %d addresses, want 0 and 3", len(c.Servers), len(c.Addresses))
	}
	for _, s := range c.Sets {
		if s.Name == ipset.Bound && len(s.Entries) != 3 || s.Name != ipset.Bound && len(s.Entries) != 0 {
			t.Errorf("set %s has entries %v", s.Name, s.Entries)
		}
	}
}

// What is taken over from a predecessor is what would be made anew, for any
// history; and what did not change is shared.
func TestCompileOnAPredecessorSaysTheSame(t *testing.T) {
	for seed := range uint64(3) {
		cluster := clustergen.NewRandom(seed, 40)
		var state *proxier.State
		var c *ipvs.Compiled
		o := options()
		for step := range 90 {
			cluster.Step()
			if step%30 == 29 {
				o.Scheduler = "wlc"
				o.NodeAddresses = nodeAddresses[1:]
			}
			state = proxier.Build(state, cluster.Store.Snapshot(), clustergen.Options(proxier.IPv4))
			c = ipvs.Compile(c, state, o)
			fresh := ipvs.Compile(nil, state, o)
			if diff := cmp.Diff(ipvs.Text(fresh.Servers), ipvs.Text(c.Servers)); diff != "" {
				t.Fatalf("seed %d, step %d: -fresh +shared:\n%s", seed, step, diff)
			}
			if diff := cmp.Diff(fresh.Sets, c.Sets, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Fatalf("seed %d, step %d: sets, -fresh +shared:\n%s", seed, step, diff)
			}
			if !slices.IsSortedFunc(c.Servers, func(a, b *ipvs.VirtualServer) int { return a.Compare(b.Place) }) {
				t.Fatalf("seed %d, step %d: the virtual servers are not sorted", seed, step)
			}
			for _, v := range c.Servers {
				if ipvs.Find(c.Servers, v.Place) != v || c.Frontend(v.Place) == nil {
					t.Fatalf("seed %d, step %d: %s is there twice, or nobody's", seed, step, v.Place)
				}
			}
		}
	}
}

func TestWhatDidNotChangeIsShared(t *testing.T) {
	store := clustergen.Uniform(100, 3)
	state := build(store, proxier.IPv4)
	before := ipvs.Compile(nil, state, options())
	store.SetEndpointSlice(clustergen.Slice(7, proxier.IPv4, 3, 1))
	after := ipvs.Compile(before, proxier.Build(state, store.Snapshot(), clustergen.Options(proxier.IPv4)), options())
	old := map[*ipvs.VirtualServer]bool{}
	for _, v := range before.Servers {
		old[v] = true
	}
	maps.DeleteFunc(old, func(v *ipvs.VirtualServer, _ bool) bool { return slices.Contains(after.Servers, v) })
	if len(old) != 1 {
		t.Errorf("%d of 100 virtual servers are made anew after one changed", len(old))
	}
}
