package ipvs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// settings are how a target's virtual servers choose.
func (o Options) settings(t *proxier.Target) Settings {
	s := Settings{Scheduler: o.global()}
	if t.Scheduler != "" && o.available(t.Scheduler) {
		s.Scheduler = t.Scheduler
	}
	if s.Scheduler == "mh" {
		// Without the port, all connections of a client would go to one server.
		s.Flags |= Sched2
	}
	if t.Affinity > 0 {
		s.Flags |= Persistent
		s.Timeout = uint32(t.Affinity / time.Second)
		s.ClientBits = uint8(proxier.FamilyOf(t.ClusterIP).Bits())
	}
	return s
}

func (o Options) global() string {
	if o.Scheduler == "" {
		return DefaultScheduler
	}
	return o.Scheduler
}

func (o Options) available(scheduler string) bool {
	if o.Available == nil {
		return slices.Contains(proxier.Schedulers, scheduler)
	}
	return o.Available[scheduler]
}

// schedulerProblems tells of Services whose scheduler this node does not have.
func (c *Compiled) schedulerProblems() []proxier.Problem {
	var problems []proxier.Problem
	for _, service := range c.state.Services {
		if len(service.Targets) == 0 { // all ports of a Service have the same annotation
			continue
		}
		t := service.Targets[0]
		if t.Scheduler == "" || c.options.available(t.Scheduler) {
			continue
		}
		problems = append(problems, proxier.Problem{
			Kind: "Service", Namespace: t.Name.Namespace, Name: t.Name.Name,
			Field: "metadata.annotations[" + proxier.SchedulerAnnotation + "]", Value: t.Scheduler,
			Reason: fmt.Sprintf("is not a scheduler this node's kernel has (%s): %s is used", c.options.names(), c.options.global()),
		})
	}
	return problems
}

// names are the available schedulers, in the order of the documentation.
func (o Options) names() string {
	var names []string
	for _, s := range proxier.Schedulers {
		if o.available(s) {
			names = append(names, s)
		}
	}
	return strings.Join(names, ", ")
}

// CheckScheduler refuses a global scheduler that is unknown, or that this node
// does not have. available are the node's, from Probe.
func CheckScheduler(scheduler string, available []string) error {
	if scheduler == "" {
		scheduler = DefaultScheduler
	}
	switch {
	case !slices.Contains(proxier.Schedulers, scheduler):
		return fmt.Errorf("IPVS scheduler %.40q is unknown: it must be one of %s", scheduler, strings.Join(proxier.Schedulers, ", "))
	case !slices.Contains(available, scheduler):
		return fmt.Errorf("IPVS scheduler %q is not available on this node, which has %s: load the module ip_vs_%s",
			scheduler, strings.Join(available, ", "), scheduler)
	}
	return nil
}
