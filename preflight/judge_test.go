package preflight_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/preflight"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// healthy is a host on which nothing is wrong.
func healthy(t *testing.T) preflight.Facts {
	t.Helper()
	c, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	return preflight.Facts{
		Config: c, Kernel: "6.1.0", NetAdmin: true,
		Families: []preflight.Family{
			{Family: proxier.IPv4, Tool: "iptables 1.8.9 (nft)"}, {Family: proxier.IPv6, Tool: "ip6tables 1.8.9 (nft)"},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"},
		Tracked: 10, MaxTracked: 1000,
		Ports: []preflight.Port{{Field: "healthzBindAddress", Address: netip.MustParseAddrPort("0.0.0.0:10256")}},
		API:   &preflight.API{Server: "https://192.0.2.1:6443"},
	}
}

func TestNothingIsWrong(t *testing.T) {
	findings := preflight.Judge(healthy(t))
	if bad := preflight.NotOK(findings); len(bad) > 0 {
		t.Errorf("found %v", bad)
	}
	var subjects []string
	for _, f := range findings {
		subjects = append(subjects, f.Subject)
	}
	want := []string{"configuration", "permissions", "iptables", "iptables", "mode", "forwarding", "conntrack", "ports", "API server"}
	if d := cmp.Diff(want, subjects); d != "" {
		t.Error(d)
	}
	if err := preflight.Err(findings); err != nil {
		t.Error(err)
	}
}

func forward(policy string, rules ...string) iptables.Ruleset {
	return iptables.Ruleset{Tables: []iptables.Table{{Name: iptables.Filter, Chains: []*iptables.Chain{{Name: "FORWARD", Policy: policy, Rules: rules}}}}}
}

func chain(name string) iptables.Ruleset {
	return iptables.Ruleset{Tables: []iptables.Table{{Name: iptables.NAT, Chains: []*iptables.Chain{{Name: name}}}}}
}

func parameter(have, want string, writable bool) preflight.Parameter {
	p := sysctl.Parameter{Name: "net.a", Want: want, Why: "it must be"}
	return preflight.Parameter{Outcome: sysctl.Outcome{Parameter: p, Have: have}, Writable: writable}
}

func need(essential bool) iptables.Need {
	return iptables.Need{Name: "match x", For: "y", Essential: essential}
}

// TestFindings changes one fact at a time: want are all findings that are not
// ok, or, after "ok ", one of those that are; by severity, subject and a part of
// their text.
func TestFindings(t *testing.T) {
	tests := []struct {
		name   string
		change func(*preflight.Facts)
		want   []string
	}{
		{"a warning about the configuration", func(f *preflight.Facts) {
			f.Warnings = []config.Warning{{Field: "ipvs.scheduler", Reason: "is for another mode"}}
		}, []string{"warning configuration: ipvs.scheduler: is for another mode"}},
		{"invalid values", func(f *preflight.Facts) {
			f.Config, f.ConfigError = nil, config.Errors{{Field: "mode", Value: "x", Allowed: "must be y"}, {Field: "a", Value: "b", Allowed: "c"}}
		}, []string{`fatal configuration: mode: "x": must be y`, `fatal configuration: a: "b": c`}},
		{
			"a file that cannot be read", func(f *preflight.Facts) { f.Config, f.ConfigError = nil, fs.ErrNotExist },
			[]string{"fatal configuration: file does not exist"},
		},
		{"no permission", func(f *preflight.Facts) {
			f.NetAdmin = false
			f.Families[0].Err, f.Families[1].Err = os.ErrPermission, os.ErrPermission
		}, []string{"fatal permissions: this process has no CAP_NET_ADMIN", "fatal iptables: IPv4 does not work: permission denied: no Service is served over IPv4; see permissions", "fatal iptables: IPv6 does not work"}},
		{
			"no tool of one family", func(f *preflight.Facts) { f.Families[1].Err = errors.New("not in PATH") },
			[]string{"warning iptables: IPv6 does not work: not in PATH: no Service is served over IPv6; install iptables 1.8, and load the modules of its tables; where the cluster has no IPv6"},
		},
		{
			"no IPv6 on the host", func(f *preflight.Facts) { f.NoIPv6 = errors.New("IPv6 is off"); f.Families[1].Err = f.NoIPv6 },
			[]string{"ok iptables: IPv6 is off, and not served"},
		},
		{"no IPv6 on the host in a cluster with IPv6", func(f *preflight.Facts) {
			f.NoIPv6 = errors.New("IPv6 is off")
			f.Families[1].Err = f.NoIPv6
			dual := *f.Config
			dual.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("fd00::/56")}
			f.Config = &dual
		}, []string{"warning iptables: IPv6 is off, and the configuration speaks of IPv6: no Service is served over IPv6; turn it on"}},
		{"no tool at all", func(f *preflight.Facts) {
			f.Families[0].Err, f.Families[1].Err = errors.New("not in PATH"), errors.New("not in PATH")
		}, []string{"fatal iptables: IPv4", "fatal iptables: IPv6"}},
		{"one family's tool missing, the other's kernel side", func(f *preflight.Facts) {
			f.Families[0].Err, f.Families[1].Missing = errors.New("not in PATH"), []iptables.Need{need(true)}
		}, []string{"fatal iptables: IPv4", "fatal iptables: the kernel or ip6tables 1.8.9 (nft) has no match x: without it no rule can be written"}},
		{
			"an essential match in one family", func(f *preflight.Facts) { f.Families[0].Missing = []iptables.Need{need(true)} },
			[]string{"warning iptables: the kernel or iptables 1.8.9 (nft) has no match x"},
		},
		{
			"a match that few need", func(f *preflight.Facts) { f.Families[0].Missing = []iptables.Need{need(false)} },
			[]string{"warning iptables: the kernel or iptables 1.8.9 (nft) has no match x: needed for: y"},
		},
		{
			"a match with a fallback", func(f *preflight.Facts) { f.Families[0].Missing = []iptables.Need{{Name: "match bpf", For: "y"}} },
			[]string{"ok iptables: the kernel or iptables 1.8.9 (nft) has no match bpf: y"},
		},
		{
			"nothing can be tried", func(f *preflight.Facts) { f.Families[0].TrialErr = os.ErrPermission },
			[]string{"ok iptables: iptables 1.8.9 (nft): what the kernel is able to do could not be tried out: permission denied"},
		},
		{"the tool does not work", func(f *preflight.Facts) {
			f.Families[0].TrialErr = &iptables.RestoreError{Output: "can't open lock file /run/xtables.lock"}
		}, []string{"warning iptables: iptables 1.8.9 (nft) cannot write rules, not even in a network namespace of its own: can't open lock file"}},
		{"leftovers of the other variant", func(f *preflight.Facts) {
			f.Families[0].Other, f.Families[0].OtherChains = "iptables 1.8.9 (legacy)", []string{"KUBE-SVC-1", "KUBE-SVC-2"}
		}, []string{"warning leftovers: iptables 1.8.9 (legacy) holds chains of a Service proxy (2, such as KUBE-SVC-1), and iptables 1.8.9 (nft) is in use"}},
		{"FORWARD accepts", func(f *preflight.Facts) { f.Families[0].Rules = forward("ACCEPT") }, nil},
		{"FORWARD drops", func(f *preflight.Facts) {
			f.Families[0].Rules = forward("DROP", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-j DOCKER-USER")
		}, []string{"warning forward chain: FORWARD of iptables 1.8.9 (nft) has the policy DROP"}},
		{"FORWARD ends with REJECT", func(f *preflight.Facts) {
			f.Families[1].Rules = forward("ACCEPT", "-j REJECT --reject-with icmp6-adm-prohibited")
		}, []string{"warning forward chain: FORWARD of ip6tables 1.8.9 (nft) ends with a rule that takes nothing"}},
		{
			"FORWARD drops what a plugin does not accept", func(f *preflight.Facts) { f.Families[0].Rules = forward("DROP", "-s 10.244.0.0/16 -j ACCEPT") },
			[]string{"ok forward chain: FORWARD of iptables 1.8.9 (nft) has the policy DROP, with rules of others before it that accept"},
		},
		{"FORWARD drops, Calico", func(f *preflight.Facts) {
			f.Families[0].Rules = forward("DROP", "-m comment --comment x -j cali-FORWARD")
		}, []string{"ok forward chain: "}},
		{
			"the mode does not work", func(f *preflight.Facts) { f.ModeError = errors.New("mode ipvs: this kernel has no IPVS") },
			[]string{"fatal mode: mode ipvs: this kernel has no IPVS (Linux 6.1.0)"},
		},
		{"IPVS mode ran before", func(f *preflight.Facts) { f.IPVSDevice = "dummy" }, []string{"ok leftovers: kube-ipvs0 is there"}},
		{"schedulers", func(f *preflight.Facts) { f.Schedulers = []string{"rr", "lc"} }, []string{"ok mode: iptables on Linux 6.1.0, schedulers rr, lc"}},
		{"no forwarding", func(f *preflight.Facts) { f.Sysctls["net.ipv4.ip_forward"] = "0" }, []string{"warning forwarding: net.ipv4.ip_forward is 0: "}},
		{"no forwarding yet in IPVS mode", func(f *preflight.Facts) {
			f.Sysctls["net.ipv4.ip_forward"] = "0"
			ipvs := *f.Config
			ipvs.Mode = config.ModeIPVS
			f.Config = &ipvs
		}, []string{"ok forwarding: net.ipv4.ip_forward is 0, and set to 1 in IPVS mode"}},
		{"no IPv6 forwarding, and nobody wants it", func(f *preflight.Facts) { f.Sysctls["net.ipv6.conf.all.forwarding"] = "0" }, nil},
		{"no IPv6 forwarding in a cluster with IPv6", func(f *preflight.Facts) {
			f.Sysctls["net.ipv6.conf.all.forwarding"] = "0"
			dual := *f.Config
			dual.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("fd00::/56")}
			f.Config = &dual
		}, []string{"warning forwarding: net.ipv6.conf.all.forwarding is 0, and the cluster has IPv6"}},
		{
			"strict reverse path filter", func(f *preflight.Facts) { f.Sysctls["net.ipv4.conf.all.rp_filter"] = "1" },
			[]string{"ok forwarding: net.ipv4.conf.all.rp_filter is 1 (strict)"},
		},
		{
			"a bridge, and no module", func(f *preflight.Facts) { f.Bridges = []string{"docker0", "cni0"} },
			[]string{"warning bridges: there is a bridge, cni0, and the module br_netfilter is not loaded"},
		},
		{
			"a bridge past the rules", func(f *preflight.Facts) {
				f.Bridges, f.Sysctls["net.bridge.bridge-nf-call-iptables"] = []string{"cni0"}, "0"
			},
			[]string{"warning bridges: there is a bridge, cni0, and net.bridge.bridge-nf-call-iptables is 0"},
		},
		{
			"a bridge through the rules", func(f *preflight.Facts) {
				f.Bridges, f.Sysctls["net.bridge.bridge-nf-call-iptables"] = []string{"cni0"}, "1"
			},
			[]string{"ok bridges: net.bridge.bridge-nf-call-iptables is 1"},
		},
		{"bridges of Docker", func(f *preflight.Facts) { f.Bridges = []string{"docker0", "br-1234", "virbr0"} }, nil},
		{"parameters to be set", func(f *preflight.Facts) {
			f.Required, f.Wished = []preflight.Parameter{parameter("0", "1", true)}, []preflight.Parameter{parameter("0", "1", true)}
		}, []string{"ok kernel parameters: to be set at the start of the daemon: 2"}},
		{
			"a wish that cannot be met", func(f *preflight.Facts) { f.Wished = []preflight.Parameter{parameter("0", "1", false)} },
			[]string{"warning kernel parameters: net.a is 0, should be 1, and may not be set by this process: it must be"},
		},
		{
			"a need of the mode that cannot be met", func(f *preflight.Facts) { f.Required = []preflight.Parameter{parameter("0", "1", false)} },
			[]string{"fatal kernel parameters: net.a is 0, should be 1"},
		},
		{"a parameter that is not there", func(f *preflight.Facts) {
			f.Wished = []preflight.Parameter{{Outcome: sysctl.Outcome{Err: errors.New("net.b cannot be read")}}}
		}, []string{"warning kernel parameters: net.b cannot be read"}},
		{"a full table of connections", func(f *preflight.Facts) { f.Tracked = 900 }, []string{"warning conntrack: 900 of 1000 connections are tracked"}},
		{"one that is nearly that full", func(f *preflight.Facts) { f.Tracked = 899 }, nil},
		{
			"liberal", func(f *preflight.Facts) { f.Sysctls["net.netfilter.nf_conntrack_tcp_be_liberal"] = "1" },
			[]string{"ok conntrack: net.netfilter.nf_conntrack_tcp_be_liberal is 1"},
		},
		{
			"kube-proxy runs", func(f *preflight.Facts) { f.Proxies = []preflight.Process{{PID: 7, Name: "kube-proxy"}} },
			[]string{"warning other programs: kube-proxy runs on this host, process 7"},
		},
		{
			"the daemon runs", func(f *preflight.Facts) { f.Proxies = []preflight.Process{{PID: 7, Name: "kube-proxier"}} },
			[]string{"ok other programs: kube-proxier runs, process 7"},
		},
		{"another daemon runs", func(f *preflight.Facts) {
			f.Starting, f.Proxies = true, []preflight.Process{{PID: 7, Name: "kube-proxier"}}
		}, []string{"warning other programs: kube-proxier runs on this host, process 7"}},
		{
			"kube-proxy's nftables mode", func(f *preflight.Facts) { f.NFTables = []string{"ip6 kube-proxy", "inet mine"} },
			[]string{"warning leftovers: there is the nftables table ip6 kube-proxy"},
		},
		{"firewalld, in both its forms", func(f *preflight.Facts) {
			f.NFTables, f.Families[0].Rules = []string{"inet firewalld"}, chain("FORWARD_IN_ZONES")
		}, []string{"warning other programs: firewalld runs on this host: table inet firewalld", "warning other programs: firewalld has rules on this host, such as chain FORWARD_IN_ZONES"}},
		{"ufw in both families", func(f *preflight.Facts) {
			f.Families[0].Rules, f.Families[1].Rules = chain("ufw-before-forward"), chain("ufw6-before-forward")
		}, []string{"warning other programs: ufw has rules on this host, such as chain ufw-before-forward of iptables"}},
		{
			"kube-router", func(f *preflight.Facts) { f.Families[0].Rules = chain("KUBE-ROUTER-SERVICES") },
			[]string{"warning other programs: kube-router's service proxy has rules"},
		},
		{"kube-router for policies only", func(f *preflight.Facts) { f.Families[0].Rules = chain("KUBE-ROUTER-FORWARD") }, nil},
		{"Cilium", func(f *preflight.Facts) { f.Families[0].Rules = chain("CILIUM_POST_nat") }, []string{"ok other programs: Cilium has rules on this host"}},
		{
			"a port in use", func(f *preflight.Facts) { f.Ports[0].Err = os.NewSyscallError("bind", syscall.EADDRINUSE) },
			[]string{"warning ports: healthzBindAddress 0.0.0.0:10256 is in use: it is not served until the address is free; Services are; find out by whom: ss -ltnp sport = :10256"},
		},
		{"a port in use, and that is fatal", func(f *preflight.Facts) {
			f.Ports[0].Err = os.NewSyscallError("bind", syscall.EADDRINUSE)
			hard := *f.Config
			hard.BindAddressHardFail = true
			f.Config = &hard
		}, []string{"fatal ports: healthzBindAddress 0.0.0.0:10256 is in use: bindAddressHardFail is set"}},
		{"a port in use by the daemon", func(f *preflight.Facts) {
			f.Ports[0].Err, f.Proxies = os.NewSyscallError("bind", syscall.EADDRINUSE), []preflight.Process{{PID: 7, Name: "kube-proxier"}}
		}, []string{"ok ports: healthzBindAddress 0.0.0.0:10256 is in use: probably by kube-proxier, process 7"}},
		{
			"another host's address", func(f *preflight.Facts) { f.Ports[0].Err = os.NewSyscallError("bind", syscall.EADDRNOTAVAIL) },
			[]string{"warning ports: healthzBindAddress 0.0.0.0:10256 cannot be listened on: bind: cannot assign requested address"},
		},
		{
			"no kubeconfig", func(f *preflight.Facts) { f.API = &preflight.API{ClientErr: os.ErrPermission} },
			[]string{"fatal API server: permission denied: there is nowhere to get Services from"},
		},
		{
			"no answer", func(f *preflight.Facts) { f.API.Err = syscall.ECONNREFUSED },
			[]string{"warning API server: https://192.0.2.1:6443 does not answer as it should: connection refused"},
		},
		{
			"an expired token", func(f *preflight.Facts) { f.API.Err = apierrors.NewUnauthorized("expired") },
			[]string{"warning API server: https://192.0.2.1:6443 does not answer as it should: expired: nothing is changed before the objects have come; what is in force stays in force; the token or certificate is wrong or has expired"},
		},
		{"too many requests", func(f *preflight.Facts) { f.API.Err = apierrors.NewTooManyRequests("later", 1) }, []string{"warning API server: https://192.0.2.1:6443 does not answer as it should: later: it is overloaded"}},
		{
			"by the Service", func(f *preflight.Facts) {
				f.API.Server, f.API.ServiceIPs = "https://10.96.0.1", []string{"fd00:10:96::1", "10.96.0.1"}
			},
			[]string{"warning API server: 10.96.0.1 is the address of the Service kubernetes: after a start of the node nobody serves it"},
		},
		{
			"by the Service over IPv6, with a port", func(f *preflight.Facts) {
				f.API.Server, f.API.ServiceIPs = "https://[fd00:10:96:0::1]:443", []string{"fd00:10:96::1"}
			},
			[]string{"warning API server: fd00:10:96::1 is the address of the Service kubernetes"},
		},
		{
			"by the Service, without a scheme", func(f *preflight.Facts) {
				f.API.Server, f.API.ServiceIPs = "10.96.0.1:443", []string{"10.96.0.1"}
			},
			[]string{"warning API server: 10.96.0.1 is the address of the Service kubernetes"},
		},
		{
			"by the Service, as only the environment says", func(f *preflight.Facts) {
				f.API.Server, f.API.PodsServer, f.API.Err = "https://10.96.0.1", "10.96.0.1", syscall.ECONNREFUSED
			},
			[]string{"warning API server: https://10.96.0.1 does not answer", "warning API server: 10.96.0.1 is the address of the Service kubernetes"},
		},
		{"by what a DaemonSet says in the place of the Service", func(f *preflight.Facts) {
			f.API.PodsServer, f.API.ServiceIPs = "192.0.2.1", []string{"10.96.0.1"}
		}, nil},
		{"not by the Service", func(f *preflight.Facts) {
			f.API.PodsServer, f.API.ServiceIPs = "10.96.0.1", []string{"10.96.0.1"}
		}, nil},
		{"by a name", func(f *preflight.Facts) {
			f.API.Server, f.API.PodsServer = "https://api.example:6443", ""
		}, nil},
		{
			"reads that are denied", func(f *preflight.Facts) {
				f.API.Denied = []source.Denial{{Read: "list services", Err: errors.New("forbidden")}}
			},
			[]string{"warning API server: list services: forbidden: nothing is changed before all objects are there"},
		},
		{
			"Nodes that are denied", func(f *preflight.Facts) {
				f.API.Denied = []source.Denial{{Read: source.ListNodes, Err: errors.New("forbidden")}}
			},
			[]string{"warning API server: list nodes: forbidden: the daemon waits 90s, and goes on without"},
		},
		{"no Node", func(f *preflight.Facts) { f.API.NodeMissing = true }, []string{"warning API server: there is no Node object named localhost"}},
		{"a Node without address", func(f *preflight.Facts) { f.API.NodeUnaddressed = true }, []string{"warning API server: the Node object localhost has no address: the daemon waits 30s for one at its start, and goes on without: until there is one, nodePortAddresses: [primary] leaves out loopback addresses only"}},
		{
			"clocks apart", func(f *preflight.Facts) { f.API.Ahead = -90 * time.Second },
			[]string{"warning clock: the clock of https://192.0.2.1:6443 is 1m30s behind this host's"},
		},
		{"clocks together", func(f *preflight.Facts) { f.API.Ahead = 29 * time.Second }, nil},
		{"no API server wanted", func(f *preflight.Facts) { f.API = nil }, nil},
		{
			"manifests", func(f *preflight.Facts) { f.API, f.Manifests = nil, &preflight.Manifests{Services: 7} },
			[]string{"ok manifests: 7 Services, of which nothing is wrong"},
		},
		{
			"no manifests", func(f *preflight.Facts) { f.API, f.Manifests = nil, &preflight.Manifests{Err: fs.ErrNotExist} },
			[]string{"fatal manifests: file does not exist: there is nowhere to get Services from"},
		},
		{
			"manifests with a problem", func(f *preflight.Facts) {
				f.API, f.Manifests = nil, &preflight.Manifests{Problems: []proxier.Problem{{Kind: "Service", Namespace: "shop", Name: "web", Reason: "is wrong"}}}
			},
			[]string{"warning manifests: Service shop/web: is wrong"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			facts := healthy(t)
			test.change(&facts)
			findings := preflight.Judge(facts)
			var bad, all []string
			for _, f := range findings {
				line := string(f.Severity) + " " + f.String()
				all = append(all, line)
				if f.Severity != preflight.OK {
					bad = append(bad, line)
					if f.What == "" {
						t.Errorf("%s: says nothing", line)
					}
				}
			}
			for i, want := range test.want {
				switch {
				case strings.HasPrefix(want, "ok "):
					if !anyHasPrefix(all, want) || len(bad) > 0 {
						t.Errorf("want %q in\n%s", want, strings.Join(all, "\n"))
					}
				case i >= len(bad) || !strings.HasPrefix(bad[i], want) || len(bad) != len(test.want):
					t.Errorf("want %q, got\n%s", want, strings.Join(bad, "\n"))
				}
			}
			if len(test.want) == 0 && len(bad) > 0 {
				t.Errorf("found\n%s", strings.Join(bad, "\n"))
			}
		})
	}
}

func anyHasPrefix(lines []string, prefix string) bool {
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

func TestFatalError(t *testing.T) {
	err := preflight.Err([]preflight.Finding{
		{Severity: preflight.Warning, Subject: "a", What: "b"},
		{Severity: preflight.Fatal, Subject: "c", What: "d", Why: "e", Do: "f"},
		{Severity: preflight.Fatal, Subject: "g", What: "h"},
	})
	if want := "nothing can be served on this host:\n  c: d: e; f\n  g: h"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	preflight.Print(&b, []preflight.Finding{{preflight.OK, "ports", "free", "", ""}, {preflight.Fatal, "mode", "one\ntwo", "three", "four"}})
	want := `ok       ports              free
fatal    mode               one
                            two
                            why: three
                            do:  four
1 fatal, 0 warnings, 1 ok
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}
