package iptables_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/iptables"
)

func TestHandBackFlattensTrees(t *testing.T) {
	kernel, err := iptables.ParseSave(`*nat
:KUBE-SVC-10.96.0.0/17 - [0:0]
:KUBE-SVC-10.96.0.0/24 - [0:0]
:KUBE-SVC-10.97.0.0/24 - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
:PREROUTING ACCEPT [0:0]
:STRANGER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j STRANGER
-A KUBE-SVC-10.96.0.0/17 -d 10.96.0.0/24 -j KUBE-SVC-10.96.0.0/24
-A KUBE-SVC-10.96.0.0/24 -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-A
-A KUBE-SVC-10.96.0.0/24 -d 10.96.0.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.0.2:80
-A KUBE-SERVICES -d 10.96.0.0/17 -j KUBE-SVC-10.96.0.0/17
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-A -p tcp -j DNAT --to-destination 10.244.0.1:6443
COMMIT
*filter
:INPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-REJECT-NODEPORTS - [0:0]
-A INPUT -j KUBE-EXTERNAL-SERVICES
-A KUBE-REJECT-NODEPORTS -p tcp -m tcp --dport 30080 -j REJECT
COMMIT
`)
	if err != nil {
		t.Fatal(err)
	}
	patch := iptables.HandBack(iptables.Observe(kernel))
	want := `*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-10.96.0.0/17 - [0:0]
:KUBE-SVC-10.96.0.0/24 - [0:0]
:KUBE-SVC-10.97.0.0/24 - [0:0]
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-A
-A KUBE-SERVICES -d 10.96.0.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.0.2:80
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-X KUBE-SVC-10.96.0.0/17
-X KUBE-SVC-10.96.0.0/24
-X KUBE-SVC-10.97.0.0/24
COMMIT
*filter
:KUBE-REJECT-NODEPORTS - [0:0]
-X KUBE-REJECT-NODEPORTS
COMMIT
`
	if diff := cmp.Diff(want, strings.Join(patch.Calls, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
