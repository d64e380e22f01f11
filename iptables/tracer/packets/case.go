package packets

import (
	"net/netip"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

// A Case is one line of a packet table.
type Case struct {
	// Line is its number in the table, from 1; Text its words, single-spaced.
	Line int
	Text string

	From   Origin
	Packet tracer.Packet
	Want   Want
}

// Origin is who sends a packet.
type Origin string

// The origins.
const (
	Pod    Origin = "pod"
	Client Origin = "client"
	Node   Origin = "node"
)

// Want is what has to become of a packet.
type Want struct {
	Verdict tracer.Verdict
	// Endpoints are all possible destinations of DNAT, with equal chances; when
	// the packet is accepted and there are none, it is left as it is.
	Endpoints []Endpoint
	// Masquerade says that the source of a packet without DNAT is rewritten.
	Masquerade bool
	// Recent says that the client is remembered and sent to the same endpoint.
	Recent bool
}

// An Endpoint is a destination of DNAT.
type Endpoint struct {
	netip.AddrPort
	// Masquerade says that the source is rewritten on the way to it.
	Masquerade bool
}

// String is as in a table: "10.0.0.1:80" or "10.0.0.1:80=masq".
func (e Endpoint) String() string {
	if e.Masquerade {
		return e.AddrPort.String() + "=masq"
	}
	return e.AddrPort.String()
}

// String is as in a table, with masq at each endpoint it applies to.
func (w Want) String() string {
	var words []string
	switch {
	case w.Verdict != tracer.Accept:
		words = append(words, w.Verdict.String())
	case len(w.Endpoints) == 0:
		words = append(words, "-")
	}
	for _, e := range w.Endpoints {
		words = append(words, e.String())
	}
	if w.Masquerade {
		words = append(words, "masq")
	}
	if w.Recent {
		words = append(words, "recent")
	}
	return strings.Join(words, " ")
}
