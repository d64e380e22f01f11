package preflight

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// strangers are other programs that handle Services, or change rules.
func (j *judge) strangers(f Facts) {
	const subject = "other programs"
	for _, p := range f.Proxies {
		if f.daemon(p) {
			j.ok(subject, fmt.Sprintf("kube-proxier runs, process %d", p.PID))
			continue
		}
		j.add(Warning, subject, fmt.Sprintf("%s runs on this host, process %d", p.Name, p.PID),
			"two Service proxies on one node change each other's rules, again and again", "let one of them run only: delete the DaemonSet of the other")
	}
	for _, table := range f.NFTables {
		switch _, name, _ := strings.Cut(table, " "); name {
		case "kube-proxy":
			j.add(Warning, "leftovers", "there is the nftables table "+table+", of kube-proxy's nftables mode",
				"packets pass through it, too, and its Services and endpoints may be old", "kube-proxy --cleanup, or: nft delete table "+table)
		case "firewalld":
			j.add(Warning, subject, "firewalld runs on this host: table "+table, firewalldDrops, firewalldAdvice)
		}
	}
	told := map[string]bool{}
	for _, family := range f.Families {
		for _, s := range signs() {
			if chain := s.in(family.Rules); chain != "" && !told[s.name] {
				told[s.name] = true
				j.add(s.severity, subject, fmt.Sprintf("%s has rules on this host, such as chain %s of %s", s.name, chain, family.Tool), s.why, s.do)
			}
		}
	}
}

// daemon tells whether a process is the one that should run.
func (f Facts) daemon(p Process) bool { return p.Name == "kube-proxier" && !f.Starting }

const (
	firewalldDrops  = "it refuses what its zones do not allow, such as connections to pods and node ports, whatever Services say"
	firewalldAdvice = "put the pods' and node's devices into the zone trusted, or turn it off: systemctl disable --now firewalld"
)

// A sign is how a program that may get in the way is known by its chains.
type sign struct {
	name     string
	prefixes []string
	severity Severity
	why, do  string
}

func signs() []sign {
	return []sign{
		{
			"kube-router's service proxy",
			[]string{"KUBE-ROUTER-SERVICES", "KUBE-ROUTER-HAIRPIN"},
			Warning, "two Service proxies on one node change each other's rules and virtual servers", "run it with --run-service-proxy=false",
		},
		{
			"firewalld",
			[]string{"FORWARD_IN_ZONES", "FWDI_public", "IN_public"},
			Warning, firewalldDrops + "; and it flushes all rules when it is reloaded", firewalldAdvice,
		},
		{
			"ufw",
			[]string{"ufw-before-forward", "ufw6-before-forward"},
			Warning, "it drops what is to be forwarded unless DEFAULT_FORWARD_POLICY allows it", `set DEFAULT_FORWARD_POLICY="ACCEPT" in /etc/default/ufw, and allow node ports`,
		},
		{
			"Cilium",
			[]string{"CILIUM_"},
			OK, "with kubeProxyReplacement it handles Services before these rules see a packet, and no other proxy is needed", "",
		},
	}
}

// in returns a chain of the program; "" when it has none.
func (s sign) in(rules iptables.Ruleset) string {
	for _, table := range rules.Tables {
		for _, chain := range table.Chains {
			if slices.ContainsFunc(s.prefixes, func(prefix string) bool { return strings.HasPrefix(chain.Name, prefix) }) {
				return chain.Name
			}
		}
	}
	return ""
}

// ports are the addresses of health and metrics.
func (j *judge) ports(f Facts) {
	const subject = "ports"
	for _, p := range f.Ports {
		if p.Err == nil {
			j.ok(subject, fmt.Sprintf("%s %s is free", p.Field, p.Address))
			continue
		}
		severity, why := Warning, "it is not served until the address is free; Services are"
		if f.Config != nil && f.Config.BindAddressHardFail {
			severity, why = Fatal, "bindAddressHardFail is set: the daemon ends when it cannot listen"
		}
		what, do := fmt.Sprintf("%s %s cannot be listened on: %v", p.Field, p.Address, p.Err), "choose an address of this host"
		if errors.Is(p.Err, syscall.EADDRINUSE) {
			what, do = fmt.Sprintf("%s %s is in use", p.Field, p.Address), "find out by whom: "+listeners(p.Address)
			if len(f.Proxies) > 0 {
				severity, why = Warning, fmt.Sprintf("probably by %s, process %d", f.Proxies[0].Name, f.Proxies[0].PID)
				if f.daemon(f.Proxies[0]) {
					severity, do = OK, ""
				}
			}
		}
		j.add(severity, subject, what, why, do)
	}
}

func listeners(address netip.AddrPort) string {
	return fmt.Sprintf("ss -ltnp sport = :%d", address.Port())
}
