package main

import (
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// newPollers count the traffic of Services, in each family; nothing is read yet.
func (r *resident) newPollers(g *generation) map[proxier.Family]*traffic.Poller {
	pollers := map[proxier.Family]*traffic.Poller{}
	for _, tool := range r.tools {
		c := g.config.Traffic
		poller := traffic.NewPoller(g.host.traffic(tool), c.Period, c.MaxServices)
		log := trafficLog{logger: r.logger.WithValues("family", tool.Family)}
		poller.Told = log.told
		pollers[tool.Family] = poller
	}
	return pollers
}

// traffic is counted by what the dataplanes of one family, which have been made,
// have in the kernel: in IPVS mode by virtual servers, and by rules that send some
// traffic past them.
func (h *host) traffic(tool *iptables.Tool) traffic.Source {
	rules := iptables.NewTraffic(tool, h.rules[tool.Family])
	if servers := h.servers[tool.Family]; servers != nil {
		return traffic.Both(ipvs.NewTraffic(tool.Family, servers), rules)
	}
	return rules
}

// A trafficLog says when reading fails, and when Services are not shown by name;
// each once, until it is otherwise.
type trafficLog struct {
	logger klog.Logger
	failed bool
	hidden int
}

func (l *trafficLog) told(totals traffic.Totals, err error) {
	if err != nil {
		if !l.failed {
			l.logger.Error(err, "The traffic of Services cannot be read; it is tried again")
		}
		l.failed = true
		return
	}
	l.failed = false
	if totals.Hidden > 0 && l.hidden == 0 {
		l.logger.Info("The traffic of some Services is shown only as a sum; metrics.maxServices says of how many it is shown by name", "hidden", totals.Hidden)
	}
	l.hidden = totals.Hidden
}
