package phase

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

// destination matches the destination of a rule for a cluster IP.
var destination = regexp.MustCompile(`(?m)^-A KUBE-\S+ -d (10\.96\.\d+\.\d+)/32 .*--dport 80\b`)

// ends are the Services whose rules come first and last among all, or, where no
// rules in iptables' tables lead to them, that have the lowest and highest address.
func (r *runner) ends(ctx context.Context) (first, last netip.AddrPort, err error) {
	if r.Kind.Mode != subject.IPTables {
		first, last = load.Frontend(0), load.Frontend(0)
		for i := range r.Size.Services {
			if f := load.Frontend(i); f.Compare(first) < 0 {
				first = f
			} else if f.Compare(last) > 0 {
				last = f
			}
		}
		return first, last, nil
	}
	text, err := r.iptables(ctx, r.stage.node.Host, "iptables-save", "-t", "nat")
	if err != nil {
		return first, last, err
	}
	return endsOf(text)
}

func endsOf(save string) (first, last netip.AddrPort, err error) {
	rules := destination.FindAllStringSubmatch(save, -1)
	if len(rules) == 0 {
		return first, last, fmt.Errorf("no rule leads to a Service")
	}
	parse := func(rule []string) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(rule[1]), load.ServicePort)
	}
	return parse(rules[0]), parse(rules[len(rules)-1]), nil
}

// rules count the rules that packets walk; nil where they walk none worth to be
// counted.
type rules struct {
	tracer *tracer.Tracer
	caller netip.Addr
}

func (r *runner) rules(ctx context.Context) (*rules, error) {
	if r.Kind.Mode != subject.IPTables {
		return nil, nil //nolint:nilnil // see the type
	}
	text, err := r.iptables(ctx, r.stage.node.Host, "iptables-save")
	if err != nil {
		return nil, err
	}
	set, err := iptables.ParseSave(text)
	if err != nil {
		return nil, fmt.Errorf("rules of %s: %w", r.Kind, err)
	}
	for i := range set.Tables {
		if t := set.Tables[i].Name; t != iptables.NAT && t != iptables.Filter {
			set.Tables[i] = iptables.Table{Name: t} // no packet that is measured meets them
		}
	}
	t, err := tracer.New(set, tracer.Host{Addresses: r.stage.node.Addrs()})
	if err != nil {
		return nil, fmt.Errorf("rules of %s: %w", r.Kind, err)
	}
	return &rules{tracer: t, caller: r.stage.node.caller.Addr4()}, nil
}

// walked is the average number of rules, over n destinations and, for each, over
// the endpoints that may be chosen.
func (r *rules) walked(next func() netip.AddrPort, n int) (*float64, error) {
	if r == nil {
		return nil, nil //nolint:nilnil // there is nothing to count
	}
	sum := 0.0
	for range n {
		dst := next()
		result, err := r.tracer.Trace(tracer.Packet{
			Src: r.caller, Dst: dst.Addr(), Protocol: "tcp", SrcPort: 40000, DstPort: dst.Port(),
			InInterface: testenv.PodDevicePrefix + "1", OutInterface: testenv.PodDevicePrefix + "2",
		})
		if err != nil {
			return nil, err
		}
		for _, outcome := range result.Outcomes {
			sum += float64(outcome.RulesWalked) * outcome.Probability
		}
	}
	return new(sum / float64(n)), nil
}
