package ipvstests

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/device/devicetest"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset/ipsettest"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// A host has stand-ins for all that IPVS mode writes to.
type host struct {
	sysctls string
	sets    *ipsettest.Kernel
	devices *devicetest.Kernel
	tables  map[proxier.Family]*iptablestest.Kernel
	servers map[proxier.Family]*ipvstest.Kernel
}

// newHost is one that was just started.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{
		sysctls: t.TempDir(),
		devices: devicetest.New(device.NewHost("", nil, []device.Addr{
			{Addr: netip.MustParseAddr("172.18.0.11"), Device: "eth0"}, {Addr: netip.MustParseAddr("fd00:172:18::11"), Device: "eth0"},
		})),
		sets:   ipsettest.New(),
		tables: map[proxier.Family]*iptablestest.Kernel{}, servers: map[proxier.Family]*ipvstest.Kernel{},
	}
	for _, family := range proxier.Families {
		h.tables[family], h.servers[family] = iptablestest.New(), ipvstest.New(family)
	}
	h.sets.References = h.references()
	for _, p := range sysctl.IPVS(proxier.IPv4, sysctl.Version{}, false) {
		path := p.Path(h.sysctls)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// references counts the rules that use a set.
func (h *host) references() func(set string) uint32 {
	writes, text := -1, ""
	return func(set string) uint32 {
		v4, v6 := h.tables[proxier.IPv4], h.tables[proxier.IPv6]
		if n := len(v4.Inputs()) + len(v6.Inputs()); n != writes {
			writes, text = n, v4.String()+v6.String()
		}
		return uint32(strings.Count(text, "--match-set "+set+" ")) //nolint:gosec // a few rules
	}
}

// String is all there is.
func (h *host) String() string {
	var b strings.Builder
	for _, family := range proxier.Families {
		b.WriteString(h.tables[family].String())
	}
	for _, p := range sysctl.IPVS(proxier.IPv4, sysctl.Version{}, false) {
		value, err := os.ReadFile(p.Path(h.sysctls))
		fmt.Fprintf(&b, "sysctl %s=%s%v\n", p.Name, value, err)
	}
	return b.String() + h.served()
}

// served is what there is for each Service: entries of sets, addresses, virtual
// servers.
func (h *host) served() string {
	var b strings.Builder
	b.WriteString(h.sets.String())
	list, _ := h.devices.List(context.Background()) // it never fails
	fmt.Fprintf(&b, "device %s\n", list.Type)
	for _, addr := range list.Bound {
		fmt.Fprintf(&b, "address %s\n", addr)
	}
	for _, family := range proxier.Families {
		b.WriteString(h.servers[family].String())
	}
	return b.String()
}

var errKilled = errors.New("killed")

// A life is that of a process: all its writes, each as small as the kernel can
// take it, until it is killed after some of them.
type life struct {
	host *host
	// last is the number of the last write; 0 for a process that nobody kills.
	last   int
	writes int
	// look is called after each write.
	look func(write string)
}

// write does one, unless the process is dead.
func (l *life) write(what string, do func() error) error {
	if l.dead() {
		return errKilled
	}
	if err := do(); err != nil {
		return err
	}
	l.writes++
	if l.look != nil {
		l.look(fmt.Sprintf("write %d, %s", l.writes, strings.TrimSpace(what)))
	}
	if l.dead() {
		return errKilled
	}
	return nil
}

func (l *life) dead() bool { return l.last > 0 && l.writes >= l.last }

// reconciler is the process's for one family.
func (l *life) reconciler(t *testing.T, store *proxier.Store, family proxier.Family, s settings) *proxier.Reconciler {
	t.Helper()
	tables := mortalTables{l.host.tables[family], l}
	r, _, err := kernels{
		mode.Kernels{
			Sets: mortalSets{l.host.sets, l}, Rules: tables, Tables: tables, Servers: mortalServers{l.host.servers[family], l},
			Devices: device.NewCached(mortalDevices{l.host.devices, l}), Observe: tables.observe,
		}, l.host.sysctls, tables, 0,
	}.reconciler(store, family, s)
	if err != nil {
		t.Fatal(err)
	}
	// One dataplane for each parameter, since the files cannot be watched.
	var each []proxier.Dataplane
	for _, p := range sysctl.IPVS(family, sysctl.Version{}, false) {
		each = append(each, mortalParameter{sysctl.New(l.host.sysctls, []sysctl.Parameter{p}), l})
	}
	r.Dataplanes = append(each, r.Dataplanes[1:]...)
	return r
}

type mortalSets struct {
	*ipsettest.Kernel

	life *life
}

// Do adds and deletes entry by entry: the kernel takes no more at once for
// certain.
func (m mortalSets) Do(ctx context.Context, ops []ipset.Op) error {
	for _, op := range ops {
		parts := []ipset.Op{op}
		if len(op.Set.Entries) > 1 && (op.Verb == ipset.Add || op.Verb == ipset.Delete) {
			parts = nil
			for _, e := range op.Set.Entries {
				part := op
				part.Set.Entries = []ipset.Entry{e}
				parts = append(parts, part)
			}
		}
		for _, part := range parts {
			if err := m.life.write(part.String(), func() error { return m.Kernel.Do(ctx, []ipset.Op{part}) }); err != nil {
				return err
			}
		}
	}
	return nil
}

type mortalDevices struct {
	*devicetest.Kernel

	life *life
}

func (m mortalDevices) Do(ctx context.Context, ops []device.Op) error {
	for _, op := range ops {
		if err := m.life.write(op.String(), func() error { return m.Kernel.Do(ctx, []device.Op{op}) }); err != nil {
			return err
		}
	}
	return nil
}

type mortalServers struct {
	*ipvstest.Kernel

	life *life
}

func (m mortalServers) Do(ctx context.Context, ops []ipvs.Op) (int, error) {
	for i, op := range ops {
		err := m.life.write(op.String(), func() error {
			_, err := m.Kernel.Do(ctx, []ipvs.Op{op})
			return err
		})
		if err != nil {
			return i, err
		}
	}
	return len(ops), nil
}

type mortalTables struct {
	*iptablestest.Kernel

	life *life
}

func (m mortalTables) observe(ctx context.Context) (iptables.Observation, error) {
	nat, err := m.Save(ctx, iptables.NAT)
	if err != nil {
		return iptables.Observation{}, err
	}
	rules, err := iptables.ParseSave(nat)
	return iptables.Observe(rules), err
}

// Restore commits one table after the other.
func (m mortalTables) Restore(ctx context.Context, input string) error {
	for table := range strings.SplitAfterSeq(input, "COMMIT\n") {
		if table == "" {
			continue
		}
		if err := m.life.write(table, func() error { return m.Kernel.Restore(ctx, table) }); err != nil {
			return err
		}
	}
	return nil
}

var _ iptables.Kernel = mortalTables{}

// A mortalParameter is a dataplane of one write.
type mortalParameter struct {
	*sysctl.Dataplane

	life *life
}

func (m mortalParameter) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	p, err := m.Dataplane.Plan(ctx, state)
	return mortalPlan{p, m.life}, err
}

type mortalPlan struct {
	proxier.Plan

	life *life
}

func (p mortalPlan) Apply(ctx context.Context) (refused []proxier.Refusal, err error) {
	if p.Empty() {
		return nil, nil
	}
	return nil, p.life.write(p.String(), func() error {
		refused, err = p.Plan.Apply(ctx)
		return err
	})
}
