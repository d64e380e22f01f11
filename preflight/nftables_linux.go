package preflight

import (
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nftables are the tables of nftables, such as "inet firewalld", without those
// in which iptables-nft keeps its rules; see linux/netfilter/nf_tables.h. None
// where the kernel has no nftables.
func nftables() []string {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_UNSPEC, Version: unix.NFNETLINK_V0})
	messages, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil
	}
	var tables []string
	for _, m := range messages {
		if table := tableOf(m); table != "" {
			tables = append(tables, table)
		}
	}
	return tables
}

// tableOf reads one message: nfgenmsg, then attributes.
func tableOf(message []byte) string {
	if len(message) < nl.SizeofNfgenmsg {
		return ""
	}
	family := ""
	switch message[0] {
	case unix.NFPROTO_IPV4:
		family = "ip"
	case unix.NFPROTO_IPV6:
		family = "ip6"
	case unix.NFPROTO_INET:
		family = "inet"
	default:
		return ""
	}
	attributes, err := nl.ParseRouteAttr(message[nl.SizeofNfgenmsg:])
	if err != nil {
		return ""
	}
	for _, a := range attributes {
		if a.Attr.Type&nl.NLA_TYPE_MASK != unix.NFTA_TABLE_NAME {
			continue
		}
		name := unix.ByteSliceToString(a.Value)
		if family != "inet" && slices.Contains([]string{"nat", "filter", "mangle", "raw", "security"}, name) {
			return ""
		}
		return family + " " + name
	}
	return ""
}
