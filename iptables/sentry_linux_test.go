package iptables

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/iptables/nftcommit"
)

// What is looked at after somebody else's transaction: of what was lost, all.
func TestDoubtOfACommit(t *testing.T) {
	places := func(all ...nftcommit.Place) map[nftcommit.Place]bool {
		m := map[nftcommit.Place]bool{}
		for _, p := range all {
			m[p] = true
		}
		return m
	}
	var ours, table Doubt
	ours.Chain(NAT, "KUBE-SERVICES")
	table.Table(Filter)
	for _, test := range []struct {
		name   string
		commit nftcommit.Commit
		want   Doubt
	}{
		{"announcements were lost", nftcommit.Commit{Lost: true}, Doubt{All: true}},
		{"a chain of ours", nftcommit.Commit{Places: places(nftcommit.Place{Family: nftcommit.IPv4, Table: NAT, Chain: "KUBE-SERVICES"})}, ours},
		{"a whole table", nftcommit.Commit{Places: places(nftcommit.Place{Family: nftcommit.IPv4, Table: Filter})}, table},
		{"a chain of others", nftcommit.Commit{Places: places(nftcommit.Place{Family: nftcommit.IPv4, Table: NAT, Chain: "CNI-1"})}, Doubt{}},
		{"the other family", nftcommit.Commit{Places: places(nftcommit.Place{Family: nftcommit.IPv6, Table: NAT, Chain: "KUBE-SERVICES"})}, Doubt{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, doubtOf(test.commit, nftcommit.IPv4), cmp.AllowUnexported(Doubt{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
