package preflight

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// Judge says what the facts mean. The same facts give the same findings in the
// same order.
func Judge(f Facts) []Finding {
	var j judge
	j.configuration(f)
	j.permissions(f)
	for _, family := range f.Families {
		j.family(f, family)
	}
	j.mode(f)
	j.forwarding(f)
	j.bridges(f)
	j.parameters(f)
	j.conntrack(f)
	j.strangers(f)
	j.ports(f)
	j.api(f)
	j.manifests(f)
	return j.findings
}

// judge gathers findings.
type judge struct{ findings []Finding }

func (j *judge) add(severity Severity, subject, what, why, do string) {
	j.findings = append(j.findings, Finding{severity, subject, what, why, do})
}

func (j *judge) ok(subject, what string) { j.add(OK, subject, what, "", "") }

func (j *judge) configuration(f Facts) {
	const subject = "configuration"
	for _, w := range f.Warnings {
		j.add(Warning, subject, w.String(), "", "remove it, so that nobody relies on it")
	}
	if invalid, ok := errors.AsType[config.Errors](f.ConfigError); ok {
		for _, i := range invalid {
			j.add(Fatal, subject, i.String(), "the daemon does not start with it", "write a value that is allowed")
		}
		return
	}
	switch {
	case f.ConfigError != nil:
		j.add(Fatal, subject, f.ConfigError.Error(), "the daemon does not start with it", "see kube-proxier config validate --help")
	case f.Config != nil && len(f.Warnings) == 0:
		j.ok(subject, fmt.Sprintf("mode %s, node %s", f.Config.Mode, f.Config.NodeName))
	}
}

func (j *judge) permissions(f Facts) {
	if !f.NetAdmin {
		j.add(Fatal, "permissions", "this process has no CAP_NET_ADMIN", "the kernel lets nobody change rules without it",
			"run it as root, or give the container the capabilities NET_ADMIN and NET_RAW")
		return
	}
	j.ok("permissions", "CAP_NET_ADMIN is there")
}

// mode is whether the kernel has what the mode needs.
func (j *judge) mode(f Facts) {
	if f.Config == nil {
		return
	}
	const subject = "mode"
	fits := fmt.Sprintf("%s on Linux %s", f.Config.Mode, f.Kernel)
	if f.ModeError != nil {
		j.add(Fatal, subject, fmt.Sprintf("%v (Linux %s)", f.ModeError, f.Kernel), "nothing is served in this mode",
			"load what is missing (docs/ipvs.md, \"What it needs\"), or choose mode iptables")
		return
	}
	if len(f.Schedulers) > 0 {
		fits += ", schedulers " + strings.Join(f.Schedulers, ", ")
	}
	j.ok(subject, fits)
	if f.Config.Mode != config.ModeIPVS && f.IPVSDevice != "" {
		j.add(OK, "leftovers", "kube-ipvs0 is there: IPVS mode ran on this host",
			"its virtual servers, addresses and sets go once the rules of mode "+f.Config.Mode+" serve", "")
	}
}
