package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// virtualLeftovers is the dataplane that removes what IPVS mode has left of a family.
func (h *host) virtualLeftovers(family proxier.Family, tables tablesOf) *mode.Leftovers {
	if h.remains == nil {
		h.remains = &mode.Remains{
			Devices: h.addresses, Servers: h.openUsed, Ownership: h.ownership(), Drain: h.config.IPVS.DrainTimeout,
		}
		if exists("/sys/module/ip_set") {
			h.remains.Sets = ipset.Netlink{}
		}
	}
	return h.remains.Of(family, tables)
}

// openUsed is open where IPVS is in use, and nil elsewhere.
func (h *host) openUsed(family proxier.Family) (ipvs.Kernel, error) {
	if !exists("/proc/thread-self/net/ip_vs") {
		return nil, nil
	}
	return h.open(family)
}

// tablesOf are the tables of both variants of iptables, to read.
type tablesOf []*iptables.Tool

// Save returns a table of each that has it and can show it, one after the other.
func (t tablesOf) Save(ctx context.Context, table string) (string, error) {
	var b strings.Builder
	var unread []error
	for _, tool := range t {
		if !tool.MayHold(table) {
			continue
		}
		text, err := tool.Save(ctx, table)
		if err != nil {
			unread = append(unread, err)
		}
		b.WriteString(text)
	}
	return b.String(), errors.Join(unread...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
