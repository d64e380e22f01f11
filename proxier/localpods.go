package proxier

import (
	"fmt"
	"net/netip"
)

// LocalPodsMode is how traffic of this node's pods is recognised; the values
// are those of detectLocalMode in the configuration.
type LocalPodsMode string

// The modes.
const (
	ByClusterCIDR     LocalPodsMode = "ClusterCIDR"
	ByNodeCIDR        LocalPodsMode = "NodeCIDR"
	ByBridgeInterface LocalPodsMode = "BridgeInterface"
	ByInterfacePrefix LocalPodsMode = "InterfaceNamePrefix"
)

// LocalPods recognises traffic of pods, for one family: by its source range or
// by the interface it comes in by. The zero value recognises nothing.
type LocalPods struct {
	// Source is the pods' range; with ByClusterCIDR it holds all of the
	// cluster's pods, those of other nodes too.
	Source netip.Prefix
	// Interface is a name, InterfacePrefix the beginning of names.
	Interface, InterfacePrefix string
}

// Known reports whether pods can be told from other clients at all.
func (l LocalPods) Known() bool { return l != LocalPods{} }

// String is such as "source 10.244.0.0/16" or "nobody".
func (l LocalPods) String() string {
	switch {
	case l.Source.IsValid():
		return "source " + l.Source.String()
	case l.Interface != "":
		return fmt.Sprintf("interface %s", l.Interface)
	case l.InterfacePrefix != "":
		return fmt.Sprintf("interfaces %s*", l.InterfacePrefix)
	}
	return "nobody"
}

// localPods resolves the operator's choice for one family.
func localPods(o Options, node Node) LocalPods {
	first := func(cidrs []netip.Prefix) LocalPods {
		if own := ofFamily(o.Family, cidrs); len(own) > 0 {
			return LocalPods{Source: own[0]}
		}
		return LocalPods{}
	}
	switch o.LocalPodsMode {
	case ByNodeCIDR:
		return first(node.PodCIDRs)
	case ByBridgeInterface:
		return LocalPods{Interface: o.PodInterface}
	case ByInterfacePrefix:
		return LocalPods{InterfacePrefix: o.PodInterface}
	default:
		return first(o.ClusterCIDRs)
	}
}
