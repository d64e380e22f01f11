package device

import (
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// An Address is one that Services want to be reached at.
type Address struct {
	Addr netip.Addr
	// Frontends are those with this address.
	Frontends []*proxier.Frontend
}

// A Patch is the way from the addresses kube-ipvs0 has to those it should have.
type Patch struct {
	Ops []Op
	// Problems are addresses that the node has itself, for each Service that
	// wants one.
	Problems []proxier.Problem
}

// Diff finds the way for one family. want is sorted. node are the node's
// addresses as its Node object has them: an address among them or on another
// device is not bound, and unbound if it is.
//
// The error is of a device of the right name and the wrong type. It is not
// ours, and Services have no other place.
func Diff(family proxier.Family, host Host, want []Address, node []netip.Addr) (Patch, error) {
	if host.Type != "" && host.Type != linkType {
		return Patch{}, fmt.Errorf("network device %s has type %q instead of %q, so that it is not ours: rename it, or delete it with: ip link delete %[1]s",
			Name, host.Type, linkType)
	}
	var p Patch
	var bind []netip.Addr
	for _, w := range want {
		switch owner := host.owner(w.Addr); {
		case proxier.FamilyOf(w.Addr) != family:
		case owner != "":
			p.Problems = append(p.Problems, problems(w, "is an address of this node, on device "+owner)...)
		case slices.Contains(node, w.Addr):
			p.Problems = append(p.Problems, problems(w, "is an address of this node, by its Node object")...)
		default:
			bind = append(bind, w.Addr)
		}
	}
	missing, extra := differences(host.BoundOf(family), bind)
	if host.Type == "" && len(missing) > 0 {
		p.Ops = append(p.Ops, Op{Verb: CreateDevice})
	}
	p.Ops = append(p.Ops, each(Add, missing)...)
	p.Ops = append(p.Ops, deletions(host, extra)...)
	p.Ops = append(p.Ops, each(Release, host.RetiredOf(family))...)
	return p, nil
}

func each(verb Verb, addrs []netip.Addr) []Op {
	var ops []Op
	for _, a := range addrs {
		ops = append(ops, Op{Verb: verb, Addr: a})
	}
	return ops
}

// deletions take sorted addresses from the device, as it has them.
func deletions(host Host, addrs []netip.Addr) []Op {
	var ops []Op
	for _, p := range host.as(addrs) {
		o := Op{Verb: Delete, Addr: p.Addr()}
		if p != whole(p.Addr()) {
			o.Prefix = p
		}
		ops = append(ops, o)
	}
	return ops
}

// problems are the same for each Service that wants the address.
func problems(w Address, reason string) []proxier.Problem {
	var out []proxier.Problem
	seen := map[types.NamespacedName]bool{}
	for _, f := range w.Frontends {
		name := f.Target.Name.NamespacedName
		if seen[name] {
			continue
		}
		seen[name] = true
		out = append(out, proxier.Problem{
			Kind: "Service", Namespace: name.Namespace, Name: name.Name, Field: field(f.Kind), Value: w.Addr.String(),
			Reason: reason + ": it is not bound to " + Name + "; the ports of the Service are served there, all others remain the node's",
		})
	}
	return out
}

func field(k proxier.FrontendKind) string {
	return map[proxier.FrontendKind]string{
		proxier.ClusterIP: "spec.clusterIPs", proxier.ExternalIP: "spec.externalIPs",
		proxier.LoadBalancerIP: "status.loadBalancer.ingress",
	}[k]
}

// differences compares sorted addresses.
func differences(have, want []netip.Addr) (missing, extra []netip.Addr) {
	for len(have) > 0 || len(want) > 0 {
		switch {
		case len(want) == 0 || len(have) > 0 && have[0].Less(want[0]):
			extra, have = append(extra, have[0]), have[1:]
		case len(have) == 0 || want[0].Less(have[0]):
			missing, want = append(missing, want[0]), want[1:]
		default:
			have, want = have[1:], want[1:]
		}
	}
	return missing, extra
}
