package sysctl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// RouteLocalnet is the one without which the kernel drops a packet from
// 127.0.0.1 that a node port sends to a pod. The rule that keeps other hosts
// from reaching 127.0.0.0/8 through it (CVE-2020-8558) has to be there first.
func RouteLocalnet() []Parameter {
	return []Parameter{{
		Name: "net.ipv4.conf.all.route_localnet", Want: "1",
		Why:    "node ports on 127.0.0.1 need it: set it, or turn them off with iptables.localhostNodePorts: false",
		Needed: func(s *proxier.State) bool { return s.NodePortAddresses.Loopback },
	}}
}

// IPVS are those that IPVS mode needs over a family, see
// Documentation/networking/ipvs-sysctl.rst of the kernel. strictARP keeps the
// node from answering ARP for addresses of kube-ipvs0 on other devices.
func IPVS(family proxier.Family, kernel Version, strictARP bool) []Parameter {
	const ipvs = "IPVS mode needs it: load the module ip_vs, and let this program write to /proc/sys"
	parameters := []Parameter{
		{Name: "net.ipv4.vs.conntrack", Want: "1", Why: ipvs},
		{Name: "net.ipv4.vs.expire_nodest_conn", Want: "1", Why: ipvs},
		{Name: "net.ipv4.vs.expire_quiescent_template", Want: "1", Why: ipvs},
	}
	if kernel.reusesConnections() {
		parameters = append(parameters, Parameter{Name: "net.ipv4.vs.conn_reuse_mode", Want: "0", Why: ipvs})
	}
	if family == proxier.IPv6 {
		return parameters
	}
	parameters = append(parameters, Parameter{
		Name: "net.ipv4.ip_forward", Want: "1",
		Why: "the node does not forward packets to pods without it: set it, or let this program write to /proc/sys",
	})
	if strictARP {
		const arp = "ipvs.strictARP needs it: set it, or turn strictARP off"
		parameters = append(parameters,
			Parameter{Name: "net.ipv4.conf.all.arp_ignore", Want: "1", Why: arp},
			Parameter{Name: "net.ipv4.conf.all.arp_announce", Want: "2", Why: arp})
	}
	return parameters
}

// A Version is that of a Linux kernel.
type Version struct{ Major, Minor int }

// KernelVersion reads the kernel's version below root.
func KernelVersion(root string) (Version, error) {
	release, err := os.ReadFile(filepath.Join(root, "kernel", "osrelease"))
	if err != nil {
		return Version{}, fmt.Errorf("version of the kernel: %w", err)
	}
	return ParseVersion(strings.TrimSpace(string(release)))
}

// ParseVersion reads what uname -r prints, such as "6.1.0-13-amd64".
func ParseVersion(release string) (Version, error) {
	var v Version
	if n, _ := fmt.Sscanf(release, "%d.%d", &v.Major, &v.Minor); n != 2 {
		return Version{}, fmt.Errorf("version of the kernel: %q does not begin with two numbers and a dot between them", release)
	}
	return v, nil
}

func (v Version) atLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// reusesConnections is of the kernels, 4.1 to 5.8, that with conn_reuse_mode 1
// drop the first packet of a connection whose ports have just been used; with 0
// they do not. Before, there was no such parameter; since 5.9 ("ipvs: allow
// connection reuse for unconfirmed conntrack") 1, the default, does better.
func (v Version) reusesConnections() bool { return v.atLeast(4, 1) && !v.atLeast(5, 9) }
