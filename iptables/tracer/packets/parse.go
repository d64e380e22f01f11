package packets

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

// srcPort is the source port of every packet in a table.
const srcPort = 40000

// Parse reads a packet table. nodeAddresses are those "node" sends from, the
// first of the destination's family. An error names the line and the word.
func Parse(table string, nodeAddresses []netip.Addr) ([]Case, error) {
	var cases []Case
	n := 0
	for line := range strings.Lines(table) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		c := Case{Line: n, Text: strings.Join(words, " ")}
		if err := c.parse(words, nodeAddresses); err != nil {
			return nil, fmt.Errorf("packets, line %d, %q: %w", n, c.Text, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func (c *Case) parse(words []string, nodeAddresses []netip.Addr) error {
	rest, err := c.parseFrom(words)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return fmt.Errorf("destination missing")
	}
	if err := c.parseTo(rest[0]); err != nil {
		return fmt.Errorf("destination %q: %w", rest[0], err)
	}
	if err := c.completeSource(nodeAddresses); err != nil {
		return err
	}
	return c.Want.parse(rest[1:], c.Packet.Dst)
}

// parseFrom reads the origin and returns the words after it.
func (c *Case) parseFrom(words []string) ([]string, error) {
	c.From, c.Packet.SrcPort = Origin(words[0]), srcPort
	rest := words[1:]
	switch c.From {
	case Pod:
		c.Packet.InInterface = "veth0"
	case Client:
		c.Packet.InInterface = "eth0"
	case Node:
		if len(rest) == 0 || strings.Contains(rest[0], "/") {
			return rest, nil // the destination comes next
		}
	default:
		return nil, fmt.Errorf("%q: want pod, client or node", words[0])
	}
	if len(rest) == 0 {
		return nil, fmt.Errorf("%s: address missing", c.From)
	}
	addr, device, named := strings.Cut(rest[0], "%")
	var err error
	if c.Packet.Src, err = netip.ParseAddr(addr); err != nil {
		return nil, fmt.Errorf("%s: %q is not an address", c.From, addr)
	}
	switch {
	case named && c.From == Node:
		return nil, fmt.Errorf("node: %q: what the host sends has no device it comes in over", rest[0])
	case named && device == "":
		return nil, fmt.Errorf("%s: %q: device missing after %%", c.From, rest[0])
	case named:
		c.Packet.InInterface = device
	}
	return rest[1:], nil
}

var states = map[string]tracer.CTState{
	"": tracer.StateNew, "established": tracer.StateEstablished,
	"related": tracer.StateRelated, "invalid": tracer.StateInvalid,
}

// withPorts are the protocols that have ports; the others have none in a table.
var withPorts = []string{"tcp", "udp", "sctp"}

// parseTo reads ADDR:PORT/PROTOCOL[/STATE] or ADDR/PROTOCOL[/STATE].
func (c *Case) parseTo(s string) error {
	to, rest, ok := strings.Cut(s, "/")
	if !ok {
		return fmt.Errorf("want ADDR:PORT/PROTOCOL")
	}
	protocol, stateName, named := strings.Cut(rest, "/")
	state, known := states[stateName]
	if !known || named && stateName == "" {
		return fmt.Errorf("state %q: want established, related, invalid or none", stateName)
	}
	c.Packet.Protocol, c.Packet.State = protocol, state
	if slices.Contains(withPorts, protocol) {
		ap, err := netip.ParseAddrPort(to)
		if err != nil || ap.Port() == 0 {
			return fmt.Errorf("want ADDR:PORT before /%s", protocol)
		}
		c.Packet.Dst, c.Packet.DstPort = ap.Addr(), ap.Port()
		return nil
	}
	if protocol != "icmp" && protocol != "ipv6-icmp" {
		return fmt.Errorf("protocol %q: want tcp, udp, sctp, icmp or ipv6-icmp", protocol)
	}
	var err error
	if c.Packet.Dst, err = netip.ParseAddr(to); err != nil {
		return fmt.Errorf("want ADDR before /%s", protocol)
	}
	return nil
}

// completeSource gives the node its address.
func (c *Case) completeSource(nodeAddresses []netip.Addr) error {
	p := &c.Packet
	if !p.Src.IsValid() {
		i := slices.IndexFunc(nodeAddresses, func(a netip.Addr) bool { return a.Is4() == p.Dst.Is4() })
		if i < 0 {
			return fmt.Errorf("node: it has no address of the family of %s", p.Dst)
		}
		p.Src = nodeAddresses[i]
	}
	if p.Src.Is4() != p.Dst.Is4() {
		return fmt.Errorf("source %s and destination %s are of different families", p.Src, p.Dst)
	}
	return nil
}

// parse reads the words of the expectation.
func (w *Want) parse(words []string, dst netip.Addr) error {
	seen := map[string]bool{}
	outcome, masq := "", false // the word that says what happens; endpoints are ENDPOINT
	for _, word := range words {
		if seen[word] {
			return fmt.Errorf("%q is given twice", word)
		}
		seen[word] = true
		kind := word
		switch word {
		case "masq":
			masq = true
			continue
		case "recent":
			w.Recent = true
			continue
		case "drop":
			w.Verdict = tracer.Drop
		case "reject":
			w.Verdict = tracer.Reject
		case "-":
		default:
			kind = "an endpoint"
			if err := w.addEndpoint(word, dst); err != nil {
				return err
			}
		}
		if outcome != "" && outcome != kind {
			return fmt.Errorf("%s and %s exclude each other", outcome, kind)
		}
		outcome = kind
	}
	return w.complete(outcome, masq)
}

func (w *Want) addEndpoint(word string, dst netip.Addr) error {
	s, masq := strings.CutSuffix(word, "=masq")
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return fmt.Errorf("%q: want drop, reject, -, masq, recent, or an endpoint ADDR:PORT[=masq]", word)
	}
	if ap.Addr().Is4() != dst.Is4() {
		return fmt.Errorf("endpoint %s is not of the family of %s", ap, dst)
	}
	if slices.ContainsFunc(w.Endpoints, func(e Endpoint) bool { return e.AddrPort == ap }) {
		return fmt.Errorf("endpoint %s is given twice", ap)
	}
	w.Endpoints = append(w.Endpoints, Endpoint{ap, masq})
	return nil
}

// complete applies masq and checks that the words go together.
func (w *Want) complete(outcome string, masq bool) error {
	switch {
	case outcome == "":
		return fmt.Errorf("expectation missing: want endpoints, drop, reject or -")
	case w.Verdict != tracer.Accept && masq:
		return fmt.Errorf("masq with %s: such a packet leaves with no source", outcome)
	case w.Recent && len(w.Endpoints) == 0:
		return fmt.Errorf("recent with %s: no endpoint to remember", outcome)
	}
	if !masq {
		return nil
	}
	w.Masquerade = len(w.Endpoints) == 0
	for i := range w.Endpoints {
		if w.Endpoints[i].Masquerade {
			return fmt.Errorf("endpoint %s: masq holds for all endpoints already", w.Endpoints[i].AddrPort)
		}
		w.Endpoints[i].Masquerade = true
	}
	return nil
}
