package ipvstests

import (
	"context"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// A proxy is what serves one family on a node: the dataplanes of IPVS mode in
// their order.
type proxy struct {
	node       *testenv.Node
	store      *proxier.Store
	reconciler *proxier.Reconciler
	rules      *iptables.Dataplane
	kernel     *ipvs.Netlink
	passes     passes
}

// settings are what tests change about a proxy.
type settings struct {
	scheduler    string
	drainTimeout time.Duration
	look         time.Duration
	now          func() time.Time
}

// passes are the reports of a proxy.
type passes []proxier.Report

// Synced implements proxier.Reporter.
func (p *passes) Synced(r proxier.Report) { *p = append(*p, r) }

// newProxy puts the dataplanes together; nothing is written yet.
func newProxy(t *testing.T, node *testenv.Node, store *proxier.Store, family proxier.Family, s settings) *proxy {
	t.Helper()
	p := &proxy{node: node, store: store}
	if err := node.Do(func() error { return p.assemble(t.Context(), family, s) }); err != nil {
		t.Fatal(err)
	}
	p.reconciler.Reporter = &p.passes
	t.Cleanup(p.kernel.Close)
	return p
}

// kernels are what the dataplanes of one family read and write.
type kernels struct {
	mode.Kernels

	sysctls  string
	tables   iptables.Kernel
	maxNames int
}

// assemble must be called in the node's namespace.
func (p *proxy) assemble(ctx context.Context, family proxier.Family, s settings) error {
	tool, err := iptables.FindTool(ctx, family)
	if err != nil {
		return err
	}
	if p.kernel, err = ipvs.Open(family); err != nil {
		return err
	}
	p.reconciler, p.rules, err = kernels{
		mode.Kernels{
			Sets: ipset.Netlink{}, Rules: tool, Tables: tool, Servers: p.kernel, Devices: device.NewCached(device.Netlink{}), Observe: tool.Observe,
		}, sysctl.Root, tool, tool.MaxNames(),
	}.reconciler(p.store, family, s)
	return err
}

// reconciler has the dataplanes of IPVS mode in their order, after what the program
// sets before its first pass; and the one of rules.
func (k kernels) reconciler(store *proxier.Store, family proxier.Family, s settings) (*proxier.Reconciler, *iptables.Dataplane, error) {
	c, _, err := config.Load([]byte(testenv.Configuration), "node1")
	if err != nil {
		return nil, nil, err
	}
	version, err := sysctl.KernelVersion(sysctl.Root)
	if err != nil {
		return nil, nil, err
	}
	rules := iptables.NewDataplane(k.tables, iptables.Config{
		Options: iptables.Options{
			Features: iptables.AllFeatures(), MasqueradeBit: c.MasqueradeBit, Virtual: mode.SetNames(family),
		},
		MaxNames: k.maxNames,
	})
	d := mode.New(k.Kernels, mode.Config{Family: family, Rules: rules, Servers: ipvs.Config{
		Options:      ipvs.Options{Scheduler: s.scheduler},
		Ownership:    ipvs.Ownership{NodePorts: ipvs.DefaultNodePorts},
		DrainTimeout: s.drainTimeout, Look: s.look, Now: s.now,
	}})
	parameters := sysctl.New(k.sysctls, sysctl.IPVS(family, version, false))
	return &proxier.Reconciler{
		Store: store, Options: c.Options(family), Dataplanes: append([]proxier.Dataplane{parameters}, d.InOrder()...),
	}, rules, nil
}

// sync makes one pass, in which the kernel must take everything, and returns
// what it did.
func (p *proxy) sync(t *testing.T) passes {
	t.Helper()
	p.passes = nil
	if err := p.node.Do(func() error { return p.reconciler.Sync(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	for _, report := range p.passes {
		for _, r := range report.Refused {
			t.Errorf("%s: %s is refused: %v", report.Dataplane, r.Target.Name, r.Err)
		}
	}
	return p.passes
}

// mustBeEmpty fails for a pass that did something.
func (p passes) mustBeEmpty(t *testing.T) {
	t.Helper()
	for _, report := range p {
		if !report.Plan.Empty() {
			t.Errorf("%s, %s: a pass that should do nothing has done\n%s", report.Family, report.Dataplane, report.Plan)
		}
	}
}

// servers is what the kernel's virtual servers are.
func (p *proxy) servers(t *testing.T) string {
	t.Helper()
	list, err := p.kernel.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ipvs.Text(list.Servers)
}
