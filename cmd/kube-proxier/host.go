package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/nftcommit"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// A host makes the dataplanes of a mode. What it knows of this host is the same
// for both IP families.
type host struct {
	config *config.Config
	// sysctls is sysctl.Root, but for tests.
	sysctls string
	// addresses are those of all network devices.
	addresses *device.Cached
	// schedulers and kernel are known in IPVS mode.
	schedulers []string
	kernel     sysctl.Version
	// moved are told when an address of this host came or went, and bound when one
	// of kube-ipvs0 did.
	moved, bound []chan struct{}

	// rules are the dataplanes of rules and servers those of virtual servers; polls
	// watch over the others, and commits tells of drift, for sentries.
	rules   map[proxier.Family]*iptables.Dataplane
	servers map[proxier.Family]*ipvs.Dataplane
	polls   map[proxier.Family][]proxier.Sentry
	commits *nftcommit.Socket

	mu     sync.Mutex
	opened []*ipvs.Netlink

	remains *mode.Remains // of IPVS mode, once it is asked for
}

// newHost looks whether this host has what the mode needs. Nothing is changed.
func newHost(ctx context.Context, c *config.Config) (*host, error) {
	h := &host{
		config: c, sysctls: sysctl.Root, addresses: device.NewCached(device.Netlink{}),
		rules: map[proxier.Family]*iptables.Dataplane{}, servers: map[proxier.Family]*ipvs.Dataplane{},
		polls: map[proxier.Family][]proxier.Sentry{},
	}
	if c.Mode != config.ModeIPVS {
		return h, nil
	}
	var err error
	if err = ipvs.Supported(); err != nil {
		return nil, fmt.Errorf("mode ipvs: %w; or choose mode iptables", err)
	}
	if h.schedulers, err = ipvs.Probe(ctx); err != nil {
		return nil, fmt.Errorf("mode ipvs: %w", err)
	}
	if err = ipvs.CheckScheduler(c.IPVS.Scheduler, h.schedulers); err != nil {
		return nil, fmt.Errorf("ipvs.scheduler: %w", err)
	}
	if err = (ipset.Netlink{}).Probe(ctx); err != nil {
		return nil, fmt.Errorf("mode ipvs: %w", err)
	}
	if h.kernel, err = sysctl.KernelVersion(h.sysctls); err != nil {
		return nil, err
	}
	now, err := h.addresses.List(ctx)
	if err != nil {
		return nil, err
	}
	_, err = device.Diff(proxier.IPv4, now, nil, nil) // whether the device is ours
	return h, err
}

// dataplanes are those of one family, in the order in which they are synced.
func (h *host) dataplanes(ctx context.Context, tool *iptables.Tool) ([]proxier.Dataplane, error) {
	rules := iptables.NewDataplane(tool, iptables.Config{
		Options:  rulesOptions(h.config, tool.Family, tool.Probe(ctx)),
		MaxNames: tool.MaxNames(),
	})
	h.rules[tool.Family] = rules
	if h.config.Mode == config.ModeIPVS {
		return h.virtualDataplanes(tool, rules)
	}
	return []proxier.Dataplane{rules}, nil
}

// followers are the dataplanes of one family that nothing waits for.
func (h *host) followers(tool *iptables.Tool) []proxier.Dataplane {
	flows := conntrack.NewDataplane(conntrack.Table{})
	// They come after the rules, which keep others from what these open. One that
	// somebody changes, and that cannot be set, holds up nothing else: IPVS mode has
	// had all it needs before it began.
	parameters := h.parameters(tool.Family)
	if h.config.Mode == config.ModeIPVS {
		return []proxier.Dataplane{parameters, flows}
	}
	return []proxier.Dataplane{
		parameters, flows.WithoutIPVS(),
		h.virtualLeftovers(tool.Family, tablesOf{tool}),
	}
}

// open is ipvs.Open, until the host is closed.
func (h *host) open(family proxier.Family) (*ipvs.Netlink, error) {
	kernel, err := ipvs.Open(family)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened = append(h.opened, kernel)
	return kernel, nil
}

// close releases what the dataplanes use; none of them may be in use.
func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, kernel := range h.opened {
		kernel.Close()
	}
	h.opened = nil
	if h.commits != nil {
		_ = h.commits.Close() // nobody watches any more
	}
}

// prepare begins to listen for changes of addresses in IPVS mode, until ctx ends,
// and tells of what else is on this host.
func (h *host) prepare(ctx context.Context, tools []*iptables.Tool) error {
	if h.config.Mode != config.ModeIPVS {
		return nil
	}
	klog.FromContext(ctx).Info("IPVS", "schedulers", strings.Join(h.schedulers, ","), "scheduler", h.config.IPVS.Scheduler)
	for _, tool := range tools {
		kernel, err := h.open(tool.Family)
		if err != nil {
			return err
		}
		if err := h.reportForeign(ctx, tool.Family, kernel); err != nil {
			return err
		}
	}
	return h.watch(ctx)
}

// checkRequired tells whether setRequired will succeed, as far as that can be known
// without a write. So a live change to IPVS mode is refused where the process may not
// write parameters, as in a container that is not privileged, rather than that nothing
// is served anew from then on.
func (h *host) checkRequired(tools []*iptables.Tool) error {
	return h.eachRequired(tools, (*sysctl.Dataplane).Writable)
}

// setRequired sets parameters of the kernel that IPVS mode cannot do without. Nobody
// sets them back, and some matter to the host whatever the mode: it comes when nothing
// else can fail.
func (h *host) setRequired(ctx context.Context, tools []*iptables.Tool) error {
	return h.eachRequired(tools, func(parameters *sysctl.Dataplane, state *proxier.State) error {
		plan, err := parameters.Plan(ctx, state)
		if err == nil {
			_, err = plan.Apply(ctx)
		}
		return err
	})
}

// eachRequired does something with the parameters that IPVS mode cannot do without,
// family by family.
func (h *host) eachRequired(tools []*iptables.Tool, do func(*sysctl.Dataplane, *proxier.State) error) error {
	if h.config.Mode != config.ModeIPVS {
		return nil
	}
	for _, tool := range tools {
		if err := do(h.parameters(tool.Family), &proxier.State{Family: tool.Family}); err != nil {
			return fmt.Errorf("mode ipvs over %s: %w; kube-proxier --init-only sets it where that is allowed, such as in the init container of a DaemonSet: kubectl rollout restart", tool.Family, err)
		}
	}
	return nil
}

// parametersAreSet has the rules follow those of the kernel that the configuration
// has just changed, as far as it could.
func (h *host) parametersAreSet() {
	for _, rules := range h.rules {
		rules.SetDropInvalid(iptables.DropInvalid())
	}
}

// reportForeign says which virtual servers do not look like ours.
func (h *host) reportForeign(ctx context.Context, family proxier.Family, kernel ipvs.Kernel) error {
	addresses, err := mode.AddressesOn(h.addresses, family)(ctx)
	if err != nil {
		return err
	}
	listing, err := kernel.List(ctx)
	if err != nil {
		return fmt.Errorf("list virtual servers: %w", err)
	}
	ownership := h.ownership()
	ownership.RemoveForeign = false
	foreign := foreignServers(listing.Servers, ownership, family, addresses)
	if len(foreign) == 0 {
		return nil
	}
	fate := "they are left alone, unless a Service is at their place; ipvs.removeForeign deletes them"
	if h.config.IPVS.RemoveForeign {
		fate = "ipvs.removeForeign is set: they are deleted, but for those in ipvs.excludeCIDRs"
	}
	klog.FromContext(ctx).Info("There are virtual servers that are not known to be kube-proxier's: "+fate,
		"family", family, "count", len(foreign), "first", foreign[0].Place.String())
	return nil
}

// foreignServers are those not ours as far as their place tells, whatever is
// wanted.
func foreignServers(list []*ipvs.VirtualServer, o ipvs.Ownership, family proxier.Family, addresses ipvs.Addresses) []*ipvs.VirtualServer {
	nothing := ipvs.Compile(nil, &proxier.State{Family: family}, ipvs.Options{})
	own := sets.New(o.Own(list, nothing, addresses, nil)...)
	return slices.DeleteFunc(slices.Clone(list), own.Has)
}

// watch lets the dataplanes look again when an address of this host comes or
// goes.
func (h *host) watch(ctx context.Context) error {
	changes, err := device.Watch(ctx)
	if err != nil {
		return err
	}
	go func() {
		for range changes.Others {
			h.addresses.Forget()
			tell(h.moved)
		}
	}()
	go func() {
		for range changes.Bound {
			tell(h.bound)
		}
	}()
	return nil
}

func tell(all []chan struct{}) {
	for _, c := range all {
		select {
		case c <- struct{}{}:
		default: // there is one to be received already
		}
	}
}
