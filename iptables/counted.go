package iptables

import (
	"github.com/kube-proxier/kube-proxier/proxier"
)

// counted tells which Service port the counters of the nat table are for: those
// of a chain by its name, those of a rule in a tree by its text.
func (c *Compiled) counted() map[string]proxier.ServicePortName {
	owners := map[string]proxier.ServicePortName{}
	for _, s := range c.services {
		for _, t := range s.targets {
			for _, chain := range t.chains {
				owners[chain.Name] = t.target.Name
			}
		}
	}
	for i := range c.nat.addresses.all {
		e := &c.nat.addresses.all[i]
		for _, rule := range e.rules {
			if jumpTarget(rule) == "DNAT" {
				owners[rule] = e.frontend.Target.Name
			}
		}
	}
	return owners
}
