package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/kube-proxier/kube-proxier/proxier"
)

const routeLocalnetPath = "/proc/sys/net/ipv4/conf/all/route_localnet"

// routeLocalnet is the dataplane of one sysctl, without which the kernel drops
// a packet from 127.0.0.1 that a node port sends to a pod. The rule that keeps
// other hosts from reaching 127.0.0.0/8 through it (CVE-2020-8558) is in the
// iptables dataplane, which comes before. The sysctl is never set back:
// somebody else may rely on it by now.
type routeLocalnet struct {
	path string
}

// Name is "route_localnet".
func (*routeLocalnet) Name() string { return "route_localnet" }

// Forget does nothing: the value is read each time.
func (*routeLocalnet) Forget() {}

// Plan reads the sysctl, if node ports are served on loopback addresses.
func (r *routeLocalnet) Plan(_ context.Context, state *proxier.State) (proxier.Plan, error) {
	p := routeLocalnetPlan{path: r.path}
	if !state.NodePortAddresses.Loopback {
		return p, nil
	}
	value, err := os.ReadFile(r.path)
	if err != nil {
		return nil, fmt.Errorf("node ports on 127.0.0.1: %w: turn them off with iptables.localhostNodePorts: false", err)
	}
	p.have = string(bytes.TrimSpace(value))
	p.set = p.have != "1"
	return p, nil
}

// routeLocalnetPlan sets the sysctl to 1, or does nothing.
type routeLocalnetPlan struct {
	path, have string
	set        bool
}

func (p routeLocalnetPlan) Empty() bool { return !p.set }

func (p routeLocalnetPlan) String() string {
	if !p.set {
		return ""
	}
	return "sysctl net.ipv4.conf.all.route_localnet=1\n"
}

func (p routeLocalnetPlan) Diff() string {
	if !p.set {
		return ""
	}
	const name = "net.ipv4.conf.all.route_localnet"
	return fmt.Sprintf("--- kernel %[1]s\n+++ wanted %[1]s\n@@ -1 +1 @@\n-%[2]s\n+1\n", name, p.have)
}

func (p routeLocalnetPlan) Summary() proxier.Summary { return proxier.Summary{Bytes: len(p.String())} }

func (p routeLocalnetPlan) Apply(context.Context) ([]proxier.Refusal, error) {
	if !p.set {
		return nil, nil
	}
	if err := os.WriteFile(p.path, []byte("1\n"), 0o644); err != nil {
		return nil, fmt.Errorf("node ports on 127.0.0.1 need it to be 1: %w: set it, or turn them off with iptables.localhostNodePorts: false", err)
	}
	return nil, nil
}
