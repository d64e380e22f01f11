package iptables

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// The chains. Names that kube-proxy uses, too, mean the same here: people and
// tools know them, and taking over from kube-proxy is an ordinary diff.
const (
	chainServices    = "KUBE-SERVICES"  // nat: the tree of service addresses; filter: those nobody answers for
	chainNodePorts   = "KUBE-NODEPORTS" // nat: the tree of node ports; filter: health check node ports
	chainExternal    = "KUBE-EXTERNAL-SERVICES"
	chainForward     = "KUBE-FORWARD"
	chainFirewall    = "KUBE-PROXY-FIREWALL"
	chainPostrouting = "KUBE-POSTROUTING"
	chainMarkMasq    = "KUBE-MARK-MASQ"
	// chainHairpin stands in for the one hairpin rule where xt_bpf is missing.
	chainHairpin = "KUBE-HAIRPIN"
	// chainRejectPorts is the filter table's tree of node ports nobody answers for.
	chainRejectPorts = "KUBE-REJECT-NODEPORTS"

	// chainOutput holds, in IPVS mode, what filter OUTPUT has to restrict.
	chainOutput = "KUBE-IPVS-OUT-FILTER"

	prefixService  = "KUBE-SVC-" // a port's endpoints
	prefixLocal    = "KUBE-SVL-" // those on this node
	prefixExternal = "KUBE-EXT-" // a port's external frontends
	prefixSources  = "KUBE-FW-"  // its source ranges
	prefixEndpoint = "KUBE-SEP-" // an endpoint's list of recent clients; with kube-proxy a chain

	// Parts of the nat table's trees of service addresses and node ports. They
	// begin like chains of kube-proxy, so that it deletes them when it comes
	// back: it fails to delete the chain of a Service that is gone as long as
	// another chain jumps there, and then nothing it writes is taken.
	prefixAddressDispatch = prefixService
	prefixPortDispatch    = prefixExternal

	prefixAddressTree = "KUBE-IP-"   // a part of the filter table's tree of service addresses
	prefixPortTree    = "KUBE-NP-"   // a part of the filter table's tree of node ports
	prefixHealthTree  = "KUBE-HC-"   // a part of the tree of health check node ports
	prefixOutputTree  = "KUBE-OD-"   // a part of the tree of original destinations below KUBE-IPVS-OUT-FILTER
	prefixHairpinTree = "KUBE-SELF-" // a part of the tree of endpoints below KUBE-HAIRPIN; KUBE-HP- is CRI-O's
)

// maxName is the longest chain name both variants take: XT_EXTENSION_MAXNAMELEN
// of linux/netfilter/x_tables.h without the final NUL.
const maxName = 28

// owned lists, for each table, the chains that are ours by name and by prefix.
// A process that knows nothing recognises what an earlier one left by it,
// kube-proxy's chains included, of iptables and of ipvs mode. KUBE-FIREWALL is
// the kubelet's in filter, and kube-proxy's in nat, where its ipvs mode had source
// ranges before KEP-3178.
var owned = map[string]struct{ names, prefixes []string }{ //nolint:gochecknoglobals // a constant table
	NAT: {
		names: []string{
			chainServices, chainNodePorts, chainPostrouting, chainMarkMasq, chainHairpin,
			"KUBE-PROXY-CANARY", "KUBE-LOAD-BALANCER", "KUBE-NODE-PORT", "KUBE-FIREWALL",
		},
		prefixes: []string{
			prefixService, prefixLocal, prefixExternal, prefixSources, prefixEndpoint, prefixHairpinTree,
		},
	},
	Filter: {
		names: []string{
			chainServices, chainExternal, chainNodePorts, chainForward, chainFirewall,
			chainRejectPorts, "KUBE-PROXY-CANARY", chainOutput, "KUBE-NODE-PORT", "KUBE-IPVS-FILTER", "KUBE-SOURCE-RANGES-FIREWALL",
		},
		prefixes: []string{prefixAddressTree, prefixPortTree, prefixHealthTree, prefixSources, prefixOutputTree},
	},
	Mangle: {names: []string{"KUBE-PROXY-CANARY"}},
}

// OwnedChain reports whether a chain of that table is ours to change.
func OwnedChain(table, chain string) bool {
	o := owned[table]
	for _, name := range o.names {
		if chain == name {
			return true
		}
	}
	for _, prefix := range o.prefixes {
		if strings.HasPrefix(chain, prefix) {
			return true
		}
	}
	return false
}

// A hash has this length, and these characters: those of base32 (RFC 4648).
const (
	hashLength   = 16
	hashAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// hash is 16 characters that stand for the text: 80 bits of its SHA-256, in
// base32.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base32.StdEncoding.EncodeToString(sum[:])[:hashLength]
}

// portChain is the chain of a Service port, with kube-proxy's hash.
func portChain(prefix string, name proxier.ServicePortName) string {
	return prefix + hash(portText(name))
}

func portText(name proxier.ServicePortName) string {
	return name.String() + strings.ToLower(string(name.Protocol))
}

// poolChain is where a pool's endpoints are chosen.
func poolChain(scope proxier.Scope, name proxier.ServicePortName) string {
	if scope == proxier.Local {
		return portChain(prefixLocal, name)
	}
	return portChain(prefixService, name)
}

// groupChain is a part of a large pool.
func groupChain(scope proxier.Scope, name proxier.ServicePortName, path string) string {
	prefix := prefixService
	if scope == proxier.Local {
		prefix = prefixLocal
	}
	return prefix + hash(portText(name)+"/"+path)
}

// recentList names the list of an endpoint's recent clients. All pools of a
// port share it.
func recentList(name proxier.ServicePortName, e *proxier.Endpoint) string {
	return prefixEndpoint + hash(portText(name)+e.Addr.String())
}

// treeChain names a part of a tree after what it holds, such as
// KUBE-SVC-10.96.0.0/16. Of a name that is too long the end stays readable, and
// a hash of the whole keeps it unique.
func treeChain(prefix, holds string) string {
	if len(prefix)+len(holds) <= maxName {
		return prefix + holds
	}
	const digest = 6
	tail := holds[len(holds)-(maxName-len(prefix)-digest-1):]
	return prefix + hash(holds)[:digest] + "~" + tail
}
