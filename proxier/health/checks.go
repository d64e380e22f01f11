package health

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/listen"
)

// Checks are the health check node ports of one family: a server for each
// Service that has one, which tells load balancers how many endpoints of the
// Service are on this node. It is safe for concurrent use.
type Checks struct {
	Family proxier.Family
	// Healthy is what decides, beside the number of endpoints.
	Healthy func() bool
	// Failed, if set, is told why the port of a Service cannot be listened on;
	// not twice in a row of the same. It is tried again every listen.Retry.
	Failed func(service *corev1.Service, port uint16, err error)
	// Addresses are those of this host itself, each once: without those by which it
	// attracts traffic to Services.
	Addresses func() ([]netip.Addr, error)

	mu sync.Mutex
	// state is that of the last Sync, and want what it asks for; refused are the
	// Services with a port that the kernel refused.
	state   *proxier.State
	want    []proxier.HealthCheck
	refused map[types.NamespacedName]bool
	// timer is that of the next attempt without a Sync; nil where there is none.
	timer   *time.Timer
	closed  bool
	servers map[types.NamespacedName]*checkServer
	failed  map[types.NamespacedName]failure
}

// A failure is why a port is not listened on.
type failure struct {
	port uint16
	text string
}

// Sync brings the servers into the shape that state asks for. A Service with a port
// that the kernel refused is not served here, whatever endpoints it has. Where node ports
// are narrowed to ranges, the host's addresses are looked up anew, those of
// loopback among them. One that remains as it was is not touched.
func (c *Checks) Sync(state *proxier.State, refused []proxier.Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.want, c.refused = state, state.HealthChecks(), map[types.NamespacedName]bool{}
	for _, r := range refused {
		c.refused[r.Target.Name.NamespacedName] = true
	}
	c.sync()
}

// sync makes an attempt. c.mu is held, as in all that follows.
func (c *Checks) sync() {
	if c.closed {
		return
	}
	defer c.schedule()
	if len(c.want) == 0 && len(c.servers) == 0 {
		c.failed = nil
		return
	}
	addresses := c.addresses(c.state.NodePortAddresses)
	c.closeOthers(c.want)
	failed := map[types.NamespacedName]failure{}
	for _, w := range c.want {
		if err := c.serve(w, addresses); err != nil {
			f := failure{w.Port, err.Error()}
			failed[w.Service.NamespacedName] = f
			if c.Failed != nil && c.failed[w.Service.NamespacedName] != f {
				c.Failed(serviceOf(c.state, w.Service.NamespacedName), w.Port, err)
			}
		}
	}
	c.failed = failed
}

// lookAgain is the time between two looks at the host's addresses, where it depends
// on them who listens.
const lookAgain = 30 * time.Second

// schedule sees to what passes do not: where nothing changes, none is made for up
// to an hour.
func (c *Checks) schedule() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	switch {
	case len(c.failed) > 0:
		c.timer = time.AfterFunc(listen.Retry, c.again)
	case len(c.want) > 0 && len(c.state.NodePortAddresses.Within) > 0:
		c.timer = time.AfterFunc(lookAgain, c.again)
	}
}

// again makes an attempt without a pass: a port may be free now, and the host may
// have another address.
func (c *Checks) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sync()
}

// Close ends all servers. There are none afterwards.
func (c *Checks) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.want, c.failed = nil, nil
	c.closeOthers(nil)
	c.schedule()
	c.closed = true
}

// closeOthers ends the servers that are not wanted, so that another Service can
// have their port.
func (c *Checks) closeOthers(want []proxier.HealthCheck) {
	ports := make(map[types.NamespacedName]uint16, len(want))
	for _, w := range want {
		ports[w.Service.NamespacedName] = w.Port
	}
	for name, server := range c.servers {
		if ports[name] != server.port {
			server.close()
			delete(c.servers, name)
		}
	}
}

// serve starts or updates one server. After an error it listens where it did
// before, or not at all.
func (c *Checks) serve(w proxier.HealthCheck, addresses []netip.Addr) error {
	name := w.Service.NamespacedName
	server := c.servers[name]
	if server == nil {
		server = &checkServer{service: name, family: c.Family, port: w.Port, healthy: c.Healthy}
	}
	server.local.Store(int64(w.LocalEndpoints))
	server.refused.Store(c.refused[name])
	if err := server.listenOn(addresses); err != nil {
		return err
	}
	if c.servers == nil {
		c.servers = map[types.NamespacedName]*checkServer{}
	}
	c.servers[name] = server
	return nil
}

// addresses are where to listen: the unspecified address where node ports are
// not narrowed, or where the host does not tell its addresses.
func (c *Checks) addresses(narrowed proxier.NodePortAddresses) []netip.Addr {
	everywhere := []netip.Addr{netip.IPv4Unspecified()}
	if c.Family == proxier.IPv6 {
		everywhere = []netip.Addr{netip.IPv6Unspecified()}
	}
	if len(narrowed.Within) == 0 {
		return everywhere
	}
	all, err := c.Addresses()
	if err != nil {
		return everywhere
	}
	var within []netip.Addr
	for _, a := range all {
		if proxier.FamilyOf(a) == c.Family && slices.ContainsFunc(narrowed.Within, func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) }) {
			within = append(within, a)
		}
	}
	return within
}

func serviceOf(state *proxier.State, name types.NamespacedName) *corev1.Service {
	for _, s := range state.Services {
		if s.Objects.Name == name {
			return s.Objects.Service
		}
	}
	return nil
}

// checkPageItem is one health check node port on the status page.
type checkPageItem struct {
	Service        string `json:"service"`
	Port           uint16 `json:"port"`
	LocalEndpoints int64  `json:"localEndpoints"`
	// Error is why the port is not listened on, or not on all addresses.
	Error string `json:"error,omitempty"`
}

// page is the servers, and the Services that have none, sorted by Service.
func (c *Checks) page() []checkPageItem {
	c.mu.Lock()
	defer c.mu.Unlock()
	items := make(map[types.NamespacedName]checkPageItem, len(c.servers))
	for name, s := range c.servers {
		items[name] = checkPageItem{Service: name.String(), Port: s.port, LocalEndpoints: s.local.Load()}
	}
	for name, f := range c.failed {
		item := items[name]
		item.Service, item.Port, item.Error = name.String(), f.port, f.text
		items[name] = item
	}
	sorted := slices.AppendSeq([]checkPageItem{}, maps.Values(items))
	slices.SortFunc(sorted, func(a, b checkPageItem) int { return cmp.Compare(a.Service, b.Service) })
	return sorted
}
