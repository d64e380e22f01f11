package health

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// choosy are the findings of a dataplane with problems of its own.
func choosy() proxier.Findings {
	return proxier.Findings{Problems: []proxier.Problem{{Kind: "Service", Namespace: "shop", Name: "web", Field: "metadata.annotations", Reason: "asks for what the kernel lacks"}}}
}

func TestStatusPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := newServer()
		page := func(name string) {
			t.Helper()
			compareGolden(t, name, ask(s.Handler(), http.MethodGet, "/status"))
		}
		page("status-at-start")
		s.Status.Findings = []map[string]string{{"severity": "warning", "what": "FORWARD drops"}}
		store := clustergen.Uniform(3, 1)
		elsewhere := clustergen.Service(3)
		elsewhere.Spec.Type = corev1.ServiceTypeExternalName
		store.SetService(elsewhere) // which is not served
		state := proxier.Build(nil, store.Snapshot(), clustergen.Options(proxier.IPv4))
		state.Problems = []proxier.Problem{{Kind: "Service", Namespace: "shop", Name: "api", Field: "spec.ports[0].port", Value: "0", Reason: "must be from 1 to 65535"}}
		report := proxier.Report{Family: proxier.IPv4, Dataplane: "iptables", State: state, Plan: plan{}, Duration: 20 * time.Millisecond}
		synced := func(change func(*proxier.Report)) {
			r := report
			change(&r)
			s.Health.Due(r.Family)
			s.Status.Synced(r)
			if r.Err == nil {
				s.Health.Done(r.Family)
			}
			pass(time.Second)
		}
		synced(func(r *proxier.Report) {
			r.Plan = plan{summary: proxier.Summary{Chains: 2, Rules: 7, Deleted: 1, Bytes: 400}}
			for _, i := range []int{1, 0} {
				r.Refused = append(r.Refused, proxier.Refusal{Target: state.Services[i].Targets[0], Err: errors.New("no such match")})
			}
		})
		synced(func(r *proxier.Report) { r.Dataplane, r.Findings = "sets", choosy() })
		synced(func(r *proxier.Report) {
			r.Dataplane, r.Following, r.State = "conntrack", true, &proxier.State{}
			r.Plan = plan{summary: proxier.Summary{Flows: 3}}
		})
		s.Status.Checks = []*Checks{{
			Family:  proxier.IPv4,
			servers: map[types.NamespacedName]*checkServer{{Namespace: "shop", Name: "web"}: {port: 31000}},
			failed:  map[types.NamespacedName]failure{{Namespace: "shop", Name: "api"}: {31001, "address in use"}},
		}}
		page("status-healthy")
		synced(func(r *proxier.Report) { r.Plan, r.Err = nil, errors.New("iptables-restore: exit status 4") })
		pass(timeout)
		*e = proxier.NodeTainted
		page("status-stalled")
		synced(func(r *proxier.Report) { r.Loss = &proxier.Loss{Before: 812, Left: 3} })
		synced(func(r *proxier.Report) { r.Drift, r.Plan = true, plan{summary: proxier.Summary{Chains: 1}} })
		for range 2 {
			s.Status.OtherVariant(proxier.IPv4, "legacy", proxier.Drift{Cause: proxier.Polled, What: "nat: 3 chains such as KUBE-SERVICES"})
		}
		s.Status.ManifestProblems = func() []proxier.Problem {
			return []proxier.Problem{{Kind: "Manifest", Name: "/etc/services.d/web.yaml", Reason: "document 2, line 3: is not YAML"}}
		}
		page("status-repaired")
	})
}
