package traffic

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Meter makes totals of readings. The totals of a port only grow, as long as
// its Service is there and shown.
//
// At most so many Services are shown by name: those that were first, and of
// several new ones the first by name. Whoever is shown stays so, for a series
// that comes and goes says nothing. All others count together; one that is shown
// later begins at 0 then, and what it had stays with the others.
type Meter struct {
	max    int
	last   map[ID]Counts
	shown  map[types.NamespacedName]bool
	hidden int
	totals map[proxier.ServicePortName]Counts
	others Counts
	ports  []Port
}

// NewMeter shows at most that many Services.
func NewMeter(maxServices int) *Meter {
	return &Meter{
		max: maxServices, last: map[ID]Counts{},
		shown: map[types.NamespacedName]bool{}, totals: map[proxier.ServicePortName]Counts{},
	}
}

// Start takes note of what the kernel shows before anything was counted here: an
// earlier process has counted that. Known or not, it does not count.
func (m *Meter) Start(r Reading) {
	for _, c := range r.Counters {
		m.last[c.ID] = c.Counts
	}
}

// Add counts what is new in a reading.
func (m *Meter) Add(r Reading) {
	m.show(r.Ports)
	last := make(map[ID]Counts, len(r.Counters))
	for _, c := range r.Counters {
		before, known := m.last[c.ID]
		if c.Port == (proxier.ServicePortName{}) {
			if known { // until it is known whose it is
				last[c.ID] = before
			}
			continue
		}
		last[c.ID] = c.Counts
		gained := c.Counts.since(before)
		if _, shown := m.totals[c.Port]; shown {
			m.totals[c.Port] = m.totals[c.Port].plus(gained)
		} else {
			m.others = m.others.plus(gained)
		}
	}
	m.last = last
}

// show decides which of the ports are shown, and forgets those that have gone.
func (m *Meter) show(ports []Port) {
	shown := map[types.NamespacedName]bool{}
	for _, p := range ports {
		if m.shown[p.NamespacedName] {
			shown[p.NamespacedName] = true
		}
	}
	hidden := map[types.NamespacedName]bool{}
	for _, p := range ports {
		switch {
		case shown[p.NamespacedName]:
		case len(shown) < m.max:
			shown[p.NamespacedName] = true
		default:
			hidden[p.NamespacedName] = true
		}
	}
	totals := make(map[proxier.ServicePortName]Counts, len(m.totals))
	for _, p := range ports {
		if shown[p.NamespacedName] {
			totals[p.ServicePortName] = m.totals[p.ServicePortName]
		}
	}
	m.shown, m.hidden, m.totals, m.ports = shown, len(hidden), totals, ports
}

// Totals are what a Meter has counted.
type Totals struct {
	// Ports are those that are shown, in the order of the reading.
	Ports []Total
	// Others is the sum of all Services that are not shown, of those that were
	// deleted since too.
	Others Counts
	// Hidden is how many Services are not shown now.
	Hidden int
}

// A Total is what has passed through one Service port.
type Total struct {
	Port
	Counts
}

// Totals returns what was counted so far.
func (m *Meter) Totals() Totals {
	t := Totals{Others: m.others, Hidden: m.hidden, Ports: make([]Total, 0, len(m.totals))}
	for _, p := range m.ports {
		if counts, shown := m.totals[p.ServicePortName]; shown {
			t.Ports = append(t.Ports, Total{p, counts})
		}
	}
	t.Ports = slices.Clip(t.Ports)
	return t
}
