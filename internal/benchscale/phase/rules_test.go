package phase

import "testing"

func TestFirstAndLastServiceAreThoseOfTheRules(t *testing.T) {
	first, last, err := endsOf(`*nat
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-API
-A KUBE-SERVICES -d 10.96.7.7/32 -p tcp -m comment --comment "bench/a:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-A
-A KUBE-SERVICES -d 10.96.1.1/32 -p tcp -m comment --comment "bench/b:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-B
-A KUBE-SERVICES -d 10.96.9.9/32 -p tcp -m comment --comment "bench/c:http cluster IP" -m tcp --dport 8080 -j KUBE-SVC-C
COMMIT
`)
	if err != nil || first.String() != "10.96.7.7:80" || last.String() != "10.96.1.1:80" {
		t.Errorf("have %s and %s, %v", first, last, err)
	}
	if first, last, err := endsOf("*nat\nCOMMIT\n"); err == nil {
		t.Errorf("without rules: have %s and %s, want an error", first, last)
	}
}
