package traffic

import (
	"context"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Counts are what has passed in both directions: in is from clients, out to them.
type Counts struct {
	Connections           uint64
	PacketsIn, PacketsOut uint64
	BytesIn, BytesOut     uint64
}

// plus is the sum.
func (c Counts) plus(d Counts) Counts {
	return Counts{
		Connections: c.Connections + d.Connections,
		PacketsIn:   c.PacketsIn + d.PacketsIn, PacketsOut: c.PacketsOut + d.PacketsOut,
		BytesIn: c.BytesIn + d.BytesIn, BytesOut: c.BytesOut + d.BytesOut,
	}
}

// since is what was counted after last. A count that is lower than before began
// at 0 in the meantime, and so did the others.
func (c Counts) since(last Counts) Counts {
	if c.Connections < last.Connections || c.PacketsIn < last.PacketsIn || c.PacketsOut < last.PacketsOut ||
		c.BytesIn < last.BytesIn || c.BytesOut < last.BytesOut {
		return c
	}
	return Counts{
		Connections: c.Connections - last.Connections,
		PacketsIn:   c.PacketsIn - last.PacketsIn, PacketsOut: c.PacketsOut - last.PacketsOut,
		BytesIn: c.BytesIn - last.BytesIn, BytesOut: c.BytesOut - last.BytesOut,
	}
}

// An ID tells one counter of the kernel from all others.
type ID struct {
	// Name is what it counts for, such as a chain or a virtual server.
	Name string
	// Shape stands for the content of what is written as a whole: another one
	// means that the counter began at 0.
	Shape uint64
}

// A Counter is one of the kernel's, with what it showed.
type Counter struct {
	ID
	Counts
	// Port is the Service port that it counts for; the zero value where that is
	// not known, or not known yet.
	Port proxier.ServicePortName
}

// A Port is one port of a Service that is served.
type Port struct {
	proxier.ServicePortName
	// Number is the port that clients of the ClusterIP connect to.
	Number uint16
}

// A Reading is what the kernel showed at one time.
type Reading struct {
	// Counters may come in any order; no two have the same ID.
	Counters []Counter
	// Ports are those that are served, sorted by Service.
	Ports []Port
}

// A Source reads the kernel's counters of one family.
type Source interface {
	Read(ctx context.Context) (Reading, error)
	// Volume reports whether packets and bytes are counted, beside connections.
	Volume() bool
}

// Both reads two sources that count different traffic of the same Services.
func Both(a, b Source) Source { return both{a, b} }

type both struct{ a, b Source }

// Read reads one after the other. The ports are those of the first.
func (s both) Read(ctx context.Context) (Reading, error) {
	reading, err := s.a.Read(ctx)
	if err != nil {
		return Reading{}, err
	}
	more, err := s.b.Read(ctx)
	reading.Counters = append(reading.Counters, more.Counters...)
	return reading, err
}

// Volume reports whether one of them counts it.
func (s both) Volume() bool { return s.a.Volume() || s.b.Volume() }

// Ports are those of a State.
func Ports(state *proxier.State) []Port {
	var ports []Port
	for t := range state.Targets {
		ports = append(ports, Port{t.Name, t.Port})
	}
	return ports
}
