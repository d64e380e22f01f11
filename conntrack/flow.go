package conntrack

import (
	"fmt"
	"net/netip"
	"strings"
)

// UDP is the number of the protocol (RFC 1700).
const UDP = 17

// A Tuple is where packets of one direction come from and go to.
type Tuple struct {
	Src, Dst netip.AddrPort
}

// A Flow is a connection that the kernel tracks.
type Flow struct {
	// Protocol is a number of IP, such as UDP.
	Protocol uint8
	// Original are the packets of who began, as they arrived.
	Original Tuple
	// Reply are the packets that answer, as they are expected to arrive: their
	// source is where Original's were sent in the end.
	Reply Tuple
	// Zone is the table's part that the flow is in; 0 unless somebody asked for
	// another. Tuples are unique in a zone.
	Zone uint16
	// ID tells the flow from a later one between the same two.
	ID uint32
	// ToNode is whether Original goes to an address of this node.
	ToNode bool
	// Virtual is whether it is IPVS that sends the packets on: somebody else
	// answers than who was asked, and no rule of the nat table has a part in it.
	Virtual bool
}

// Translated reports whether somebody else answers than who was asked.
func (f *Flow) Translated() bool { return f.Reply.Src != f.Original.Dst }

// String is the flow in the words of the program conntrack.
func (f *Flow) String() string {
	protocol := fmt.Sprint(f.Protocol)
	if f.Protocol == UDP {
		protocol = "udp"
	}
	zone := ""
	if f.Zone != 0 {
		zone = fmt.Sprintf(" zone=%d", f.Zone)
	}
	return protocol + " " + f.Original.String() + " " + f.Reply.String() + zone
}

// String is such as "src=10.244.1.2 dst=10.96.0.10 sport=4000 dport=53".
func (t Tuple) String() string {
	return fmt.Sprintf("src=%s dst=%s sport=%d dport=%d", t.Src.Addr(), t.Dst.Addr(), t.Src.Port(), t.Dst.Port())
}

// A Fault is what is wrong with a flow.
type Fault uint8

// The faults.
const (
	// None: the flow stays.
	None Fault = iota
	// NotServing: who answers is no serving endpoint of the Service port.
	NotServing
	// Untranslated: the flow began before the rules were there.
	Untranslated
	// NotServed: there is no such Service port any more.
	NotServed
	// Abandoned: IPVS has sent the flow on, and does so no longer.
	Abandoned
)

// String says it in a few words.
func (f Fault) String() string {
	return [...]string{
		"nothing is wrong", "not answered by a serving endpoint", "began before the rules were there", "no longer served",
		"sent on by IPVS before the mode changed",
	}[f]
}

// A Stale flow contradicts what is served.
type Stale struct {
	Flow
	Fault Fault
}

// command is a line for a shell that deletes the flow.
func (s *Stale) command() string {
	var b strings.Builder
	family := "ipv4"
	if s.Original.Dst.Addr().Is6() {
		family = "ipv6"
	}
	o := s.Original
	fmt.Fprintf(&b, "conntrack -D -f %s -p udp -s %s -d %s --sport %d --dport %d", family, o.Src.Addr(), o.Dst.Addr(), o.Src.Port(), o.Dst.Port())
	fmt.Fprintf(&b, " -r %s -q %s --reply-port-src %d --reply-port-dst %d", s.Reply.Src.Addr(), s.Reply.Dst.Addr(), s.Reply.Src.Port(), s.Reply.Dst.Port())
	if s.Zone != 0 {
		fmt.Fprintf(&b, " -w %d", s.Zone)
	}
	fmt.Fprintf(&b, " # %s\n", s.Fault)
	return b.String()
}
