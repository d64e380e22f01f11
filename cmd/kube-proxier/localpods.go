package main

import (
	"fmt"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// logLocalPods logs when pods cannot be recognised though there are Services, and
// when they can again. Nothing else would tell: no object is at fault, and most
// traffic gets through.
func (l *logReporter) logLocalPods(s *proxier.State) {
	mode := s.LocalPodsMode()
	switch {
	case s.LocalPods.Known():
		if l.podsUnknownBy != "" {
			l.logger.Info("Pods can be told from other clients again", "family", s.Family, "detectLocalMode", mode, "pods", s.LocalPods.String())
		}
		l.podsUnknownBy = ""
	case l.podsUnknownBy != mode && len(s.Frontends) > 0:
		l.podsUnknownBy = mode
		l.logger.Info("Pods cannot be told from other clients", "family", s.Family, "detectLocalMode", mode,
			"missing", missingRange(mode, s.Family), "lost", lostWithoutPods(s))
	}
}

// missingRange says what to set so that the mode has a range to go by. The modes
// that go by interfaces need none.
func missingRange(mode proxier.LocalPodsMode, family proxier.Family) string {
	if mode == proxier.ByNodeCIDR {
		return fmt.Sprintf("the Node object has no %s range in spec.podCIDRs: have one allocated, or choose another detectLocalMode", family)
	}
	return fmt.Sprintf("clusterCIDR has no %s range: add that of the cluster's pods, or choose another detectLocalMode", family)
}

func lostWithoutPods(s *proxier.State) []string {
	lost := []string{"pods do not reach other nodes' endpoints of Services with externalTrafficPolicy Local by external addresses and node ports"}
	if !s.MasqueradeAll {
		lost = append(lost, "traffic from outside to ClusterIPs is not masqueraded, and answers may miss it")
	}
	return lost
}
