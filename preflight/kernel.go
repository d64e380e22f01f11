package preflight

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// The parameters that Gather reads.
const (
	forward4   = "net.ipv4.ip_forward"
	forward6   = "net.ipv6.conf.all.forwarding"
	rpFilter   = "net.ipv4.conf.all.rp_filter"
	bridged4   = "net.bridge.bridge-nf-call-iptables"
	bridged6   = "net.bridge.bridge-nf-call-ip6tables"
	liberal    = "net.netfilter.nf_conntrack_tcp_be_liberal"
	tracked    = "net.netfilter.nf_conntrack_count"
	maxTracked = "net.netfilter.nf_conntrack_max"
)

// forwarding is whether the host sends packets on at all.
func (j *judge) forwarding(f Facts) {
	const subject = "forwarding"
	switch {
	case f.Sysctls[forward4] == "1":
		j.ok(subject, forward4+" is 1")
	case f.Sysctls[forward4] == "0" && f.Config != nil && f.Config.Mode == config.ModeIPVS:
		j.ok(subject, forward4+" is 0, and set to 1 in IPVS mode")
	case f.Sysctls[forward4] == "0":
		j.add(Warning, subject, forward4+" is 0", "the node sends no packet on: pods are not reached through it, by Services or otherwise",
			"sysctl -w "+forward4+"=1, and keep it in /etc/sysctl.d")
	}
	if f.Sysctls[forward6] == "0" && wantsIPv6(f.Config) {
		j.add(Warning, subject, forward6+" is 0, and the cluster has IPv6", "the node sends no IPv6 packet on",
			"sysctl -w "+forward6+"=1, and keep it in /etc/sysctl.d")
	}
	if f.Sysctls[rpFilter] == "1" {
		j.add(OK, subject, rpFilter+" is 1 (strict)",
			"a packet that comes in by another device than the answer leaves by is dropped: with several uplinks, or where the CNI plugin routes so, set it to 2", "")
	}
}

// wantsIPv6 tells whether the configuration speaks of IPv6.
func wantsIPv6(c *config.Config) bool {
	if c == nil {
		return false
	}
	is6 := func(p netip.Prefix) bool { return proxier.FamilyOf(p.Addr()) == proxier.IPv6 }
	return c.BindAddress.Is6() && !c.BindAddress.Is4In6() || slices.ContainsFunc(c.ClusterCIDRs, is6)
}

// bridges is whether packets between pods on one bridge pass the rules. Docker
// and libvirt have bridges that no pod is on.
func (j *judge) bridges(f Facts) {
	bridges := slices.DeleteFunc(slices.Clone(f.Bridges), func(name string) bool {
		return strings.HasPrefix(name, "docker") || strings.HasPrefix(name, "br-") || strings.HasPrefix(name, "virbr")
	})
	if len(bridges) == 0 {
		return
	}
	const why = "answers between two pods on one bridge pass by the rules and are not translated back: a pod's connections to Services hang when the endpoint is on the same bridge"
	value, loaded := f.Sysctls[bridged4]
	what, do := "", "modprobe br_netfilter; sysctl -w "+bridged4+"=1 "+bridged6+"=1; or ignore it where no pods are on "+strings.Join(bridges, ", ")
	switch {
	case !loaded:
		what = "there is a bridge, " + bridges[0] + ", and the module br_netfilter is not loaded"
	case value == "0":
		what = "there is a bridge, " + bridges[0] + ", and " + bridged4 + " is 0"
	default:
		j.ok("bridges", bridged4+" is "+value)
		return
	}
	j.add(Warning, "bridges", what, why, do)
}

// parameters are those that are set, or should be.
func (j *judge) parameters(f Facts) {
	const subject = "kernel parameters"
	settable := 0
	report := func(severity Severity, p Parameter) {
		switch {
		case p.Err != nil:
			j.add(severity, subject, p.Err.Error(), "", "")
		case p.Writable:
			settable++
		default:
			j.add(severity, subject, fmt.Sprintf("%s is %s, should be %s, and may not be set by this process", p.Name, p.Have, p.Want), p.Why, "")
		}
	}
	for _, p := range f.Required {
		report(Fatal, p)
	}
	for _, p := range f.Wished {
		report(Warning, p)
	}
	if settable > 0 {
		j.ok(subject, fmt.Sprintf("to be set at the start of the daemon: %d", settable))
	}
}

// conntrack is about the table of connections. It is nearly full from nine
// tenths on: then one burst is enough.
func (j *judge) conntrack(f Facts) {
	const subject = "conntrack"
	if f.MaxTracked > 0 {
		share := fmt.Sprintf("%d of %d connections are tracked", f.Tracked, f.MaxTracked)
		if f.Tracked >= f.MaxTracked/10*9 {
			j.add(Warning, subject, share, "when the table is full, packets of new connections are dropped",
				"raise conntrack.min or conntrack.maxPerCore, lower conntrack.tcpEstablishedTimeout, or find out whose they are: conntrack -L")
		} else {
			j.ok(subject, share)
		}
	}
	if value := f.Sysctls[liberal]; value != "" && value != "0" {
		j.ok(subject, liberal+" is "+value+": packets outside of the TCP window are let through, and no rule drops them")
	}
}
