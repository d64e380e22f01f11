package iptables

import (
	"context"
	"fmt"
	"hash/maphash"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// Traffic counts connections by the rules of a Dataplane.
type Traffic struct {
	tool  *Tool
	rules *Dataplane
	seed  maphash.Seed

	compiled *Compiled
	owners   map[string]proxier.ServicePortName // of compiled
}

// NewTraffic reads with a tool what the Dataplane's rules have counted.
func NewTraffic(tool *Tool, rules *Dataplane) *Traffic {
	return &Traffic{tool: tool, rules: rules, seed: maphash.MakeSeed()}
}

// Volume is false: only the first packet of a connection passes the nat table.
func (t *Traffic) Volume() bool { return false }

// Read implements traffic.Source. It takes milliseconds for hundreds of Services,
// and seconds for tens of thousands.
func (t *Traffic) Read(ctx context.Context) (traffic.Reading, error) {
	parser := newCounterParser(t.seed)
	if err := t.tool.Counters(ctx, NAT, parser.line); err != nil {
		return traffic.Reading{}, fmt.Errorf("reading the counters of table %s: %w", NAT, err)
	}
	parser.end()
	reading := traffic.Reading{Counters: parser.counters}
	// Asked afterwards, for what came in between is not known yet, and counts the
	// next time.
	compiled := t.rules.InForce()
	if compiled == nil {
		return reading, nil
	}
	if compiled != t.compiled {
		t.compiled, t.owners = compiled, compiled.counted()
	}
	for i := range reading.Counters {
		reading.Counters[i].Port = t.owners[reading.Counters[i].Name]
	}
	reading.Ports = traffic.Ports(compiled.state)
	return reading, nil
}
