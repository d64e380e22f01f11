package sysctl

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// Sys is where the kernel shows its modules and devices.
const Sys = "/sys"

// maxConnections bounds what conntrack.maxPerCore makes on large machines, as in
// kube-proxy: each of a million entries takes about 320 bytes. It does not bound
// conntrack.min.
const maxConnections = 1 << 20

// Conntrack are the parameters that the configuration's conntrack section asks
// for on a host of so many CPUs, in kube-proxy's order; see
// Documentation/networking/nf_conntrack-sysctl.rst of the kernel. A zero in the
// configuration asks for nothing. The size of the hash table is a parameter of
// the module, below sys.
func Conntrack(c config.Conntrack, cpus int, sys string) []Parameter {
	var parameters []Parameter
	want := func(name, field, value string) {
		parameters = append(parameters, Parameter{
			Name: "net.netfilter." + name, Want: value,
			Why: "conntrack." + field + " asks for it: set it on the host, let this program write to /proc/sys, or leave the host's value with conntrack." + field + ": " + leaving(field),
		})
	}
	timeout := func(name, field string, d time.Duration) {
		if d > 0 {
			want(name, field, strconv.Itoa(int(d/time.Second)))
		}
	}
	if limit := connections(c, cpus); limit > 0 {
		want("nf_conntrack_max", "maxPerCore", strconv.Itoa(limit))
		parameters[0].AtLeast, parameters[0].ZeroIsNone = true, true // unlike kube-proxy: who set more meant it
		parameters = append(parameters, Parameter{
			Name: "module nf_conntrack hashsize", Want: strconv.Itoa(limit / 4), AtLeast: true,
			File: filepath.Join(sys, "module/nf_conntrack/parameters/hashsize"),
			Why:  "with fewer buckets lookups get slow when the table fills: set it on the host, or let this program write to /sys",
		})
	}
	timeout("nf_conntrack_tcp_timeout_established", "tcpEstablishedTimeout", c.TCPEstablishedTimeout)
	timeout("nf_conntrack_tcp_timeout_close_wait", "tcpCloseWaitTimeout", c.TCPCloseWaitTimeout)
	if c.TCPBeLiberal {
		want("nf_conntrack_tcp_be_liberal", "tcpBeLiberal", "1")
	}
	timeout("nf_conntrack_udp_timeout", "udpTimeout", c.UDPTimeout)
	timeout("nf_conntrack_udp_timeout_stream", "udpStreamTimeout", c.UDPStreamTimeout)
	return parameters
}

// leaving is the value with which a field asks for nothing.
func leaving(field string) string {
	switch field {
	case "tcpBeLiberal":
		return "false"
	case "maxPerCore":
		return "0"
	}
	return "0s"
}

// connections is how many shall be tracked; 0 leaves the host's limit.
func connections(c config.Conntrack, cpus int) int {
	if c.MaxPerCore <= 0 {
		return 0
	}
	return max(min(c.MaxPerCore*cpus, maxConnections), c.Min)
}

// Process is what the configuration asks for this process itself: how willing
// the kernel is to kill it when memory runs out, see proc_pid_oom_score_adj(5).
func Process(oomScoreAdj int) []Parameter {
	return []Parameter{{
		Name: "oom_score_adj of kube-proxier", Want: strconv.Itoa(oomScoreAdj), File: "/proc/self/oom_score_adj",
		Capability: unix.CAP_SYS_RESOURCE,
		Why:        "oomScoreAdj asks for it: CAP_SYS_RESOURCE is needed to lower it",
	}}
}

// CPUs is the number of CPUs that are online, whatever this process may use of
// them.
func CPUs(sys string) int {
	online, err := os.ReadFile(filepath.Join(sys, "devices/system/cpu/online"))
	if n := parseCPUs(strings.TrimSpace(string(online))); err == nil && n > 0 {
		return n
	}
	return runtime.NumCPU()
}

// parseCPUs counts a list such as "0-3,6"; 0 when it is none.
func parseCPUs(list string) int {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.Atoi(first)
		b, errB := strconv.Atoi(last)
		if errA != nil || errB != nil || b < a {
			return 0
		}
		n += b - a + 1
	}
	return n
}
