package report

import (
	"slices"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
)

// A plot shows one figure of all runs: a group of bars for each size, a bar for
// each kind.
type plot struct {
	file, title, unit string
	figure            func(*Run) (v float64, ok bool)
}

func plots() []plot {
	return []plot{
		{"start.svg", "CPU from start to all Services served", "s", func(r *Run) (float64, bool) {
			return get(r.Start, func(s *Start) float64 { return s.CPU })
		}},
		{"restart.svg", "CPU of a restart, kernel already right", "s", func(r *Run) (float64, bool) {
			return get(r.Restart, func(s *Restart) float64 { return s.CPU })
		}},
		{"change.svg", "API write to first packet at the new endpoint, median", "ms", func(r *Run) (float64, bool) {
			return get(r.One, func(c *Changes) float64 { return 1000 * c.P50 })
		}},
		{"change-cpu.svg", "CPU of one changed endpoint", "ms", func(r *Run) (float64, bool) {
			return get(r.One, func(c *Changes) float64 { return 1000 * c.CPU })
		}},
		{"packet.svg", "Added to a new connection to a random Service, median", "µs", added(WayRandom)},
		{"pod.svg", "Added to a new connection between pods, median", "µs", added(WayPod)},
		{"memory.svg", "Resident memory", "MiB", func(r *Run) (float64, bool) {
			return get(r.Memory, func(m *Memory) float64 { return m.Steady })
		}},
	}
}

// A bar is one figure; ok is false where there is none.
type bar struct {
	value float64
	ok    bool
}

// A group is all bars of one size, in the order of the series.
type group struct {
	label string
	bars  []bar
}

// chart gathers the figures. Runs in the emulated machine are left out: their times
// are not those of the others.
func (p plot) chart(runs []*Run) (series []string, groups []group) {
	var shown []*Run
	var bySize []load.Size
	for _, run := range runs {
		if run.VM {
			continue
		}
		shown = append(shown, run)
		if name := run.Kind.String(); !slices.Contains(series, name) {
			series = append(series, name)
		}
		if !slices.Contains(bySize, run.Size) {
			bySize = append(bySize, run.Size)
		}
	}
	for _, size := range bySize {
		g := group{label: thousands(size.Services) + " × " + thousands(size.Endpoints), bars: make([]bar, len(series))}
		for i, name := range series {
			if run := find(shown, name, size); run != nil {
				g.bars[i].value, g.bars[i].ok = p.figure(run)
			}
		}
		groups = append(groups, g)
	}
	return series, groups
}

// svg is the drawing.
func (p plot) svg(runs []*Run) []byte {
	series, groups := p.chart(runs)
	return draw(p.title, p.unit, series, groups)
}
