package e2e

import (
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// drift changes our rules as somebody else would who does not know better. What
// cannot be done, because there are no such rules or the program was faster, is
// not done.
func (s *soak) drift() {
	s.t.Helper()
	tool := pick(s, []string{"iptables", "ip6tables"})
	table := pick(s, []string{iptables.NAT, iptables.Filter})
	save, err := iptables.ParseSave(s.iptables(tool+"-save", "-t", table))
	if err != nil {
		s.t.Fatal(err)
	}
	var ours, hooks []*iptables.Chain
	for _, c := range save.Table(table).Chains {
		switch {
		case iptables.OwnedChain(table, c.Name):
			ours = append(ours, c)
		case len(c.Rules) > 0:
			hooks = append(hooks, c)
		}
	}
	if len(ours) == 0 {
		return
	}
	chain := pick(s, ours)
	var args string
	switch s.r.IntN(6) {
	case 0:
		args = "-F"
	case 1:
		args = "-F " + chain.Name
	case 2:
		args = "-I " + chain.Name + " -j RETURN"
	case 3:
		args = "-A " + chain.Name + " -p tcp --dport 80 -j ACCEPT"
	case 4:
		args = "-D " + chain.Name + " 1"
	case 5:
		if len(hooks) == 0 {
			return
		}
		args = "-D " + pick(s, hooks).Name + " 1"
	}
	cmd := s.node1.Command(s.t.Context(), tool, append([]string{"-w", "-t", table}, strings.Fields(args)...)...)
	cmd.Env = s.environ
	_ = cmd.Run()
}
