package ipvs

import (
	"fmt"
	"net"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// print writes the virtual server as ipvsadm -S -n does.
func (v *VirtualServer) print(b *strings.Builder) {
	for _, o := range v.create() {
		b.WriteString(o.String())
		b.WriteByte('\n')
	}
}

// String is the virtual server as ipvsadm -S -n prints it, one line for itself
// and one for each real server.
func (v *VirtualServer) String() string {
	var b strings.Builder
	v.print(&b)
	return b.String()
}

func (s Settings) print(b *strings.Builder, family proxier.Family) {
	fmt.Fprintf(b, " -s %s", s.Scheduler)
	if s.Flags&Persistent != 0 {
		fmt.Fprintf(b, " -p %d", s.Timeout)
		switch bits := family.Bits(); {
		case int(s.ClientBits) == bits: // one address, which is ipvsadm's default
		case bits == 32:
			fmt.Fprintf(b, " -M %s", net.IP(net.CIDRMask(int(s.ClientBits), 32)))
		default:
			fmt.Fprintf(b, " -M %d", s.ClientBits)
		}
	}
	if s.Flags&OnePacket != 0 {
		b.WriteString(" -o")
	}
	if names := schedulerFlags(s); len(names) > 0 {
		fmt.Fprintf(b, " -b %s", strings.Join(names, ","))
	}
}

// schedulerFlags are the names ipvsadm(8) has for a scheduler's flags.
func schedulerFlags(s Settings) []string {
	var names []string
	for i, flag := range []Flags{Sched1, Sched2, Sched3} {
		if s.Flags&flag != 0 {
			names = append(names, schedulerFlagName(s.Scheduler, i))
		}
	}
	return names
}

// schedulerFlagName is the name of flag i, counted from 0.
func schedulerFlagName(scheduler string, i int) string {
	if (scheduler == "sh" || scheduler == "mh") && i < 2 {
		return scheduler + [...]string{"-fallback", "-port"}[i]
	}
	return fmt.Sprintf("flag-%d", i+1)
}

func (r RealServer) print(b *strings.Builder) {
	fmt.Fprintf(b, " -r %s %s -w %d", r.Addr, r.Forwarding.flag(), r.Weight)
	if r.Upper != 0 {
		fmt.Fprintf(b, " -x %d", r.Upper)
	}
	if r.Lower != 0 {
		fmt.Fprintf(b, " -y %d", r.Lower)
	}
}

// flag is ipvsadm's option. It has none for LocalNode and Bypass, which only
// the kernel itself sets, and prints its default for them.
func (f Forwarding) flag() string {
	switch f {
	case Masquerade:
		return "-m"
	case Tunnel:
		return "-i"
	default:
		return "-g"
	}
}
