package ipvs

import (
	"context"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// Traffic counts what passes through the virtual servers of a Dataplane.
type Traffic struct {
	family  proxier.Family
	servers *Dataplane
}

// NewTraffic reads what the Dataplane's virtual servers have counted.
func NewTraffic(family proxier.Family, servers *Dataplane) *Traffic {
	return &Traffic{family, servers}
}

// Volume is true: all packets pass through a virtual server, in both directions.
func (t *Traffic) Volume() bool { return true }

// Read implements traffic.Source.
func (t *Traffic) Read(ctx context.Context) (traffic.Reading, error) {
	statistics, err := Statistics(ctx, t.family)
	if err != nil {
		return traffic.Reading{}, err
	}
	// Asked afterwards, for what came in between is not known yet, and counts the
	// next time.
	return reading(statistics, t.servers.InForce()), nil
}

// reading tells which Service port each of the virtual servers is for; compiled
// may be nil.
func reading(statistics []Statistic, compiled *Compiled) traffic.Reading {
	r := traffic.Reading{Counters: make([]traffic.Counter, 0, len(statistics))}
	for _, s := range statistics {
		c := traffic.Counter{ID: traffic.ID{Name: s.Place.String()}, Counts: s.Counts}
		if compiled != nil {
			if f := compiled.Frontend(s.Place); f != nil {
				c.Port = f.Target.Name
			}
		}
		r.Counters = append(r.Counters, c)
	}
	if compiled != nil {
		r.Ports = traffic.Ports(compiled.state)
	}
	return r
}
