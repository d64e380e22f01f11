package proxier

import (
	"fmt"
	"slices"
	"strings"
)

// String prints the State for people and golden files: one paragraph for each
// Service port, then what could not be served. Frontends that lost their place
// to another Service are not among them.
func (s *State) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on node %s: local pods are %s", s.Family, printable(s.Node.Name), s.LocalPods)
	if s.MasqueradeAll {
		b.WriteString(", all traffic to cluster IPs is masqueraded")
	}
	fmt.Fprintf(&b, "\nnode ports on %s\n", s.NodePortAddresses)
	places := map[*Target][]*Frontend{}
	for _, f := range slices.Concat(s.Frontends, s.NodePorts) {
		places[f.Target] = append(places[f.Target], f)
	}
	for t := range s.Targets {
		t.print(&b, places[t])
	}
	for _, check := range s.HealthChecks() {
		fmt.Fprintf(&b, "\nhealth check %s on port %d: %d local endpoints\n", printable(check.Service.String()), check.Port, check.LocalEndpoints)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "\nproblem: %s\n", p)
	}
	return b.String()
}

func (t *Target) print(b *strings.Builder, frontends []*Frontend) {
	fmt.Fprintf(b, "\n%s %s", printable(t.Name.String()), t.Name.Protocol)
	if t.Affinity > 0 {
		fmt.Fprintf(b, ", clients stick for %s", t.Affinity)
	}
	b.WriteByte('\n')
	for _, f := range frontends {
		fmt.Fprintf(b, "  %-16s %s\n", f.Kind, f)
	}
	if t.AllowedSources != nil {
		fmt.Fprintf(b, "  %-16s %s\n", "only from", joined(t.AllowedSources))
	}
	fmt.Fprintf(b, "  %-16s %s\n", "internal", t.Internal)
	if t.Exposed() {
		fmt.Fprintf(b, "  %-16s %s\n", "external", t.External)
		if t.ExternalLocal {
			fmt.Fprintf(b, "  %-16s %s\n", "short circuit", t.ShortCircuit)
		}
	}
}

// String is the verdict, or where traffic goes.
func (p Pool) String() string {
	if p.Verdict != Accept {
		return p.Verdict.String()
	}
	addrs := make([]string, len(p.Endpoints))
	for i := range p.Endpoints {
		addrs[i] = p.Endpoints[i].Addr.String()
	}
	return fmt.Sprintf("%s %s", p.Scope, strings.Join(addrs, " "))
}

// String says on which addresses.
func (a NodePortAddresses) String() string {
	s := "all local addresses"
	if len(a.Within) > 0 {
		s = "local addresses in " + joined(a.Within)
	}
	if !a.Loopback {
		s += " but loopback"
	}
	return s
}

func joined[T fmt.Stringer](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.String()
	}
	return strings.Join(texts, " ")
}
