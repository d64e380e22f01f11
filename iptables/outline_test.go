package iptables_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/iptables"
)

func TestOutline(t *testing.T) {
	rs, err := iptables.ParseSave(`*nat
:KUBE-EMPTY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
:OUTPUT ACCEPT [0:0]
:PREROUTING ACCEPT [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.0.0.1/32 -p tcp -m comment --comment "a/b:c \"-j X\" -m tcp " -m tcp --dport 80 -j KUBE-SVC-A
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -m comment --comment word -j KUBE-EMPTY
-A KUBE-SVC-A -p tcp -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.1.0.1:80
-A KUBE-SVC-A -p tcp -j DNAT --to-destination 10.1.0.2:80
COMMIT
`)
	if err != nil {
		t.Fatal(err)
	}
	want := `nat PREROUTING
└─ → KUBE-SERVICES  # kubernetes service portals
   ├─ -d 10.0.0.1/32 -p tcp --dport 80 → KUBE-SVC-A  # a/b:c \"-j X\" -m tcp 
   │  ├─ -p tcp --mode random --probability 0.50000000000 → DNAT --to-destination 10.1.0.1:80
   │  └─ -p tcp → DNAT --to-destination 10.1.0.2:80
   └─ --dst-type LOCAL → KUBE-EMPTY  # word
nat OUTPUT
└─ → KUBE-SERVICES (above)  # kubernetes service portals
`
	if diff := cmp.Diff(want, iptables.Outline(rs)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
