package preflight

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// Known is what the caller of Gather knows already.
type Known struct {
	// Config is nil when ConfigError says why it cannot be used; then only the
	// host itself is looked at.
	Config      *config.Config
	ConfigError error
	Warnings    []config.Warning
	// ModeError and Schedulers are as in Facts.
	ModeError  error
	Schedulers []string
	// Required and Wished are the parameters to look at.
	Required, Wished []sysctl.Parameter
	// Starting tells that this is the daemon itself, and SkipPorts that it will
	// not listen.
	Starting, SkipPorts bool
	// API is how to reach the API server; nil to leave it alone.
	API *source.Connection
	// Manifests is as in Facts.
	Manifests *Manifests
}

// Gather looks at this host, in the network namespace of this thread, and
// changes nothing. What cannot be read is left out.
func Gather(ctx context.Context, known Known) Facts {
	f := Facts{
		Config: known.Config, ConfigError: known.ConfigError, Warnings: known.Warnings,
		Starting: known.Starting, ModeError: known.ModeError, Schedulers: known.Schedulers,
		Manifests: known.Manifests,
		Kernel:    kernelRelease(), NetAdmin: hasCapability(unix.CAP_NET_ADMIN),
		Sysctls:  readSysctls(forward4, forward6, rpFilter, bridged4, bridged6, liberal, tracked, maxTracked),
		Required: parameters(known.Required), Wished: parameters(known.Wished),
		NFTables: nftables(), Proxies: proxies(),
	}
	f.NoIPv6 = sysctl.CheckIPv6(sysctl.Root)
	f.Tracked, _ = strconv.Atoi(f.Sysctls[tracked])
	f.MaxTracked, _ = strconv.Atoi(f.Sysctls[maxTracked])
	f.Bridges = bridges()
	if host, err := (device.Netlink{}).List(ctx); err == nil {
		f.IPVSDevice = host.Type
	}
	f.Families = families(ctx, known.Config, f.NoIPv6)
	if known.Config != nil && !known.SkipPorts {
		f.Ports = ports(ctx, known.Config)
	}
	if known.API != nil && known.Config != nil {
		f.API = askAPI(ctx, *known.API, known.Config.NodeName)
	}
	return f
}

func kernelRelease() string {
	release, err := os.ReadFile(filepath.Join(sysctl.Root, "kernel/osrelease"))
	if err != nil {
		return "of an unknown version"
	}
	return strings.TrimSpace(string(release))
}

// hasCapability asks for this thread's effective set; see capabilities(7).
func hasCapability(number int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false
	}
	return sets[number/32].Effective&(1<<(number%32)) != 0
}

// readSysctls returns those that are there.
func readSysctls(names ...string) map[string]string {
	values := map[string]string{}
	for _, name := range names {
		value, err := os.ReadFile(filepath.Join(sysctl.Root, strings.ReplaceAll(name, ".", "/")))
		if err == nil {
			values[name] = strings.TrimSpace(string(value))
		}
	}
	return values
}

func parameters(wanted []sysctl.Parameter) []Parameter {
	var out []Parameter
	for _, o := range sysctl.Check(sysctl.Root, wanted) {
		writable := unix.Access(o.Path(sysctl.Root), unix.W_OK) == nil && (o.Capability == 0 || hasCapability(o.Capability))
		out = append(out, Parameter{Outcome: o, Writable: writable})
	}
	return out
}

func bridges() []string {
	links, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	var names []string
	for _, link := range links {
		if link.Type() == "bridge" {
			names = append(names, link.Attrs().Name)
		}
	}
	return names
}

// ports tries the addresses of the configuration's servers.
func ports(ctx context.Context, c *config.Config) []Port {
	var out []Port
	try := func(field string, address netip.AddrPort) {
		if !address.IsValid() {
			return
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address.String())
		if err == nil {
			_ = listener.Close()
		}
		out = append(out, Port{Field: field, Address: address, Err: err})
	}
	try("healthzBindAddress", c.HealthzAddress)
	try("metricsBindAddress", c.MetricsAddress)
	return out
}
