package kerneltest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/nftcommit"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A guarded is a Reconciler that runs, and looks at the kernel by itself only
// when its Sentry says so.
type guarded struct {
	*kernel
	store *proxier.Store
	// stop ends it before the test does.
	stop  func()
	right map[string]map[string][]string

	mu       sync.Mutex
	cond     *sync.Cond
	reports  []proxier.Report
	repaired int
}

// Synced implements proxier.Reporter.
func (g *guarded) Synced(r proxier.Report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports = append(g.reports, r)
	if r.Drift {
		g.repaired++
	}
	g.cond.Broadcast()
}

func (g *guarded) repairs() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.repaired
}

// await waits until the reports satisfy the condition.
func (g *guarded) await(t testing.TB, what string, enough func() bool) {
	t.Helper()
	const patience = 30 * time.Second
	late := time.AfterFunc(patience, g.cond.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(patience)
	g.mu.Lock()
	defer g.mu.Unlock()
	for !enough() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; there were %d passes and %d repairs", what, patience, len(g.reports), g.repaired)
		}
		g.cond.Wait()
	}
}

// startGuarded serves a cluster of that many Services of 3 endpoints, until the
// test ends.
func startGuarded(t testing.TB, host *testenv.Host, variant testenv.Variant, family proxier.Family, services int) *guarded {
	t.Helper()
	g := &guarded{kernel: newKernel(t, host, variant, family), store: clustergen.Uniform(services, 3)}
	g.cond = sync.NewCond(&g.mu)
	d := iptables.NewDataplane(g.kernel, iptables.Config{
		Options:  iptables.Options{Features: iptables.AllFeatures(), MasqueradeBit: 14},
		MaxNames: g.tool.MaxNames(),
	})
	reload(t, g) // so that there is something to write
	var sentry proxier.Sentry
	err := host.Do(func() (err error) {
		if variant == testenv.VariantLegacy {
			sentry, err = iptables.WatchTables(g.tool, d)
			return err
		}
		socket, err := nftcommit.Open()
		if err == nil {
			sentry = iptables.WatchCommits(socket, g.tool, d)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := proxier.Reconciler{
		Store: g.store, Options: clustergen.Options(family), Dataplanes: []proxier.Dataplane{d}, Sentries: []proxier.Sentry{sentry},
		Reporter: g, Pacer: proxier.Pacer{MaxBackoff: time.Second},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Run(ctx)
	}()
	g.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(g.stop)
	g.await(t, "the first pass", func() bool { return len(g.reports) > 0 })
	if err := g.reports[0].Err; err != nil {
		t.Fatal(err)
	}
	g.right = rulesIn(saveAll(t, g.kernel))
	return g
}

// run runs a program on the host, as somebody else.
func (g *guarded) run(t testing.TB, input string, words ...string) {
	t.Helper()
	err := g.host.Do(func() error {
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Stdin = strings.NewReader(input)
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(output))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// command is a program of the variant and family, such as "iptables-legacy-restore".
func (g *guarded) command(suffix string) string {
	name := "iptables"
	if g.tool.Family == proxier.IPv6 {
		name = "ip6tables"
	}
	return name + "-" + string(g.tool.Variant) + suffix
}

// A mischief is what somebody does to our rules.
type mischief struct {
	name string
	do   func(t testing.TB, g *guarded)
}

// restoring sends input to iptables-restore.
func restoring(input string) func(testing.TB, *guarded) {
	return func(t testing.TB, g *guarded) {
		g.run(t, input, g.command("-restore"), "--noflush", "-w", "5")
	}
}

func mischiefs() []mischief {
	return []mischief{
		{"nat flushed", restoring("*nat\n-F\nCOMMIT\n")},
		{"a chain deleted", deleteAChain},
		{"a chain flushed", restoring("*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n")},
		{"a rule inserted", restoring("*nat\n-I KUBE-SERVICES -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n")},
		{"a rule removed", restoring("*nat\n-D KUBE-POSTROUTING 1\nCOMMIT\n")},
		{"a rule replaced by one of the same size", restoring("*filter\n-R KUBE-FORWARD 1 -m conntrack --ctstate NEW -j DROP\nCOMMIT\n")},
		{"rules reordered", reorder},
		{"a jump removed", restoring("*nat\n-D OUTPUT 1\nCOMMIT\n")},
		{"a jump of filter removed", restoring("*filter\n-D FORWARD 1\nCOMMIT\n")},
		{"a chain of our name added", restoring("*nat\n:KUBE-SVC-ABCDEFGHIJKLMNOP - [0:0]\nCOMMIT\n")},
		{"everything reloaded", reload},
	}
}

// deleteAChain deletes the chain of a Service, and what jumps to it.
func deleteAChain(t testing.TB, g *guarded) {
	chain, input := "", "*nat\n"
	for _, name := range slices.Sorted(chainNames(g.right[iptables.NAT])) {
		if strings.HasPrefix(name, "KUBE-SVC-") {
			chain = name
			break
		}
	}
	for _, rules := range g.right[iptables.NAT] {
		for _, rule := range rules {
			if strings.HasSuffix(rule, " -j "+chain) {
				input += "-D" + strings.TrimPrefix(rule, "-A") + "\n"
			}
		}
	}
	restoring(input+"-F "+chain+"\n-X "+chain+"\nCOMMIT\n")(t, g)
}

// reorder moves the first rule of a chain to its end.
func reorder(t testing.TB, g *guarded) {
	rules := g.right[iptables.NAT]["KUBE-POSTROUTING"]
	restoring("*nat\n-D KUBE-POSTROUTING 1\n"+rules[0]+"\nCOMMIT\n")(t, g)
}

// reload is what a firewall does that believes itself alone. Each table goes in
// one piece, so that a repair that comes at once is not in its way.
func reload(t testing.TB, g *guarded) {
	if g.tool.Variant == iptables.VariantNFT {
		g.run(t, "", "nft", "flush", "ruleset")
		return
	}
	g.run(t, "*nat\nCOMMIT\n*filter\nCOMMIT\n*mangle\nCOMMIT\n", g.command("-restore"), "-w", "5")
}

func chainNames(rules map[string][]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range rules {
			if !yield(name) {
				return
			}
		}
	}
}

// TestDriftIsNoticedAndRepaired: nothing tells the Reconciler of drift but its
// Sentry.
func TestDriftIsNoticedAndRepaired(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			for _, m := range mischiefs() {
				t.Run(fmt.Sprintf("%s/%s", family, m.name), func(t *testing.T) {
					g := startGuarded(t, c.Node("node1").Host, variant, family, 20)
					m.do(t, g)
					g.await(t, "the repair", func() bool { return g.repaired > 0 })
					eventually(t, "right again", func() string { return cmp.Diff(g.right, rulesIn(saveAll(t, g.kernel))) })
					g.mu.Lock()
					defer g.mu.Unlock()
					for _, r := range g.reports {
						if r.Drift {
							mustTellWho(t, variant, r.Noticed)
						}
					}
				})
			}
		}
	})
}

func mustTellWho(t *testing.T, variant testenv.Variant, noticed []proxier.Drift) {
	t.Helper()
	want := proxier.Polled
	if variant == testenv.VariantNFT {
		want = proxier.Notified
	}
	for _, d := range noticed {
		if d.Cause != want || variant == testenv.VariantNFT && (d.Writer.PID == 0 || d.Writer.Name == "") {
			t.Errorf("noticed %+v, want it by %s and, where the kernel tells, by whom", d, want)
		}
	}
}

// eventually polls until there is nothing to complain of.
func eventually(t *testing.T, what string, complaint func() string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		s := complaint()
		if s == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s", what, s)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestOwnWritesAreNoDrift: many changes of objects cause no look at the kernel.
func TestOwnWritesAreNoDrift(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			g := startGuarded(t, c.Node("node1").Host, variant, family, 20)
			tables, chains := g.looks()
			for n := range 10 {
				passes := g.sent()
				g.store.SetEndpointSlice(clustergen.Slice(n, family, 3, 1))
				g.await(t, "a change", func() bool { return g.sent() > passes })
			}
			// One more that is noticed, so that all before has been noticed, too.
			restoring("*nat\n-F KUBE-SERVICES\nCOMMIT\n")(t, g)
			g.await(t, "the repair", func() bool { return g.repaired > 0 })
			nowTables, nowChains := g.looks()
			if variant == testenv.VariantNFT && (nowTables != tables || nowChains != chains+1) ||
				variant == testenv.VariantLegacy && (nowTables != tables+1 || nowChains != chains) || g.repaired != 1 {
				t.Errorf("%s: %d tables and %d chains were read, and %d repairs made; want what one drift takes",
					g.tool, nowTables-tables, nowChains-chains, g.repaired)
			}
		}
	})
}

// TestALargeWriteIsNoDrift: the first pass over many Services, which is not announced,
// causes no more looks at the kernel than one over a few; what comes after it is noticed.
func TestALargeWriteIsNoDrift(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.VariantNFT.Capability())
	c := testenv.StartCluster(t)
	for _, family := range proxier.Families {
		looks := map[int]int{}
		for _, services := range []int{20, 600} {
			g := startGuarded(t, c.Node("node1").Host, testenv.VariantNFT, family, services)
			restoring("*nat\n-F KUBE-POSTROUTING\nCOMMIT\n")(t, g)
			g.await(t, "the repair", func() bool { return g.repaired > 0 })
			looks[services], _ = g.looks()
			g.stop()
		}
		if looks[600] != looks[20] {
			t.Errorf("%s: %d tables were read after a large write, %d after a small one", family, looks[600], looks[20])
		}
	}
}

// TestStrangersChainsCostNoLook: what a CNI plugin writes for a pod does not
// make us read tables.
func TestStrangersChainsCostNoLook(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			g := startGuarded(t, c.Node("node1").Host, variant, family, 20)
			tables, chains := g.looks()
			for n := range 3 {
				restoring(fmt.Sprintf("*nat\n:CNI-%d - [0:0]\n-A CNI-%[1]d -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n", n))(t, g)
				restoring(fmt.Sprintf("*filter\n:CNI-%d - [0:0]\n-A CNI-%[1]d -j RETURN\nCOMMIT\n", n))(t, g)
			}
			restoring("*nat\n-F KUBE-NODEPORTS\n-F KUBE-SERVICES\nCOMMIT\n")(t, g)
			g.await(t, "the repair", func() bool { return g.repaired > 0 })
			nowTables, nowChains := g.looks()
			if variant == testenv.VariantNFT && (nowTables != tables || nowChains > chains+2) ||
				variant == testenv.VariantLegacy && nowTables != tables+1 {
				t.Errorf("%s: %d tables and %d chains were read; want those of one drift", g.tool, nowTables-tables, nowChains-chains)
			}
		}
	})
}

// TestWhatOthersDoWhileWeWriteIsNoticed: on legacy only the number of entries tells
// that not all of what is different after a write of ours is ours.
func TestWhatOthersDoWhileWeWriteIsNoticed(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.VariantLegacy.Capability())
	c := testenv.StartCluster(t)
	for _, family := range proxier.Families {
		g := startGuarded(t, c.Node("node1").Host, testenv.VariantLegacy, family, 20)
		restoring(othersRules)(t, g)
		insert, remove := "*filter\n-I KUBE-FORWARD -j RETURN\nCOMMIT\n", "*filter\n-F FORWARD\nCOMMIT\n"
		n := 0
		change := func() {
			n++
			g.store.SetEndpointSlice(clustergen.Slice(n, family, 3, 1))
		}
		for _, test := range []struct {
			mischief string
			write    func() // ours
			repairs  int
		}{
			{insert, change, 1},
			{remove, change, 1},
			// The write is itself a repair, which follows a look at the kernel.
			{insert, func() { restoring("*nat\n-D OUTPUT 1\nCOMMIT\n")(t, g) }, 2},
			{remove, func() { restoring("*filter\n-D INPUT 1\nCOMMIT\n")(t, g) }, 2},
		} {
			want := g.repairs() + test.repairs
			g.spoil = func(input string) string {
				g.spoil = nil
				return input + test.mischief
			}
			test.write()
			g.await(t, "the repair of "+test.mischief, func() bool { return g.repaired >= want })
			eventually(t, "right again", func() string {
				rules := saveAll(t, g.kernel)[iptables.Filter]
				if strings.Contains(rules, "-A KUBE-FORWARD -j RETURN") || !strings.Contains(rules, "-j KUBE-FORWARD") {
					return rules
				}
				return ""
			})
		}
	}
}
