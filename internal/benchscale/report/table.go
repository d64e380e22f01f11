package report

import (
	"fmt"
	"strings"
)

// A row is one figure of a run; empty where there is none.
type row struct {
	name string
	cell func(*Run) string
}

// sizeTable has a column for each run.
func sizeTable(runs []*Run) string {
	header := []string{""}
	for _, run := range runs {
		name := run.Kind.String()
		if run.VM {
			name += " (VM)"
		}
		header = append(header, name)
	}
	var b strings.Builder
	b.WriteString(line(header) + "|---" + strings.Repeat("|---:", len(runs)) + "|\n")
	for _, r := range rows() {
		cells, any := []string{r.name}, false
		for _, run := range runs {
			cell := r.cell(run)
			any = any || cell != ""
			cells = append(cells, cell)
		}
		if any {
			b.WriteString(line(cells))
		}
	}
	for _, run := range runs {
		if run.Failed != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", run.Kind, strings.ReplaceAll(run.Failed, "\n", " "))
		}
	}
	return b.String()
}

func line(cells []string) string {
	for i, cell := range cells {
		if cell == "" && i > 0 {
			cells[i] = "–"
		}
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

func rows() []row {
	all := startRows()
	all = append(all, changeRows()...)
	for _, way := range ways() {
		all = append(all, row{"new connection, p50 / p99: " + way, func(r *Run) string {
			return of(r.packets(way), func(p *Packets) string { return fmt.Sprintf("%s / %s µs", number(p.P50), number(p.P99)) })
		}})
	}
	for _, way := range ways()[2:] {
		all = append(all, row{"added to no rules: " + way, func(r *Run) string {
			return of(r.packets(way), func(p *Packets) string { return number(p.added()) + " µs" })
		}})
	}
	for _, way := range ways()[2:] {
		all = append(all, row{"rules walked: " + way, func(r *Run) string {
			if p := r.packets(way); p != nil && p.Rules != nil {
				return number(*p.Rules)
			}
			return ""
		}})
	}
	return all
}

func ways() []string {
	return []string{WayBare, WayBaseline, WayPod, WayFirst, WayRandom, WayLast, WayLarge, WayLargest}
}

func startRows() []row {
	return []row{
		{"start: all served after", func(r *Run) string {
			return of(r.Start, func(s *Start) string { return seconds(s.Served) })
		}},
		{"start: CPU until then", func(r *Run) string {
			return of(r.Start, func(s *Start) string { return seconds(s.CPU) })
		}},
		{"start: CPU until nothing is left to do", func(r *Run) string {
			return of(r.Start, func(s *Start) string { return seconds(s.Settled) })
		}},
		{"restart, kernel already right: in sync after", func(r *Run) string {
			return of(r.Restart, func(s *Restart) string { return seconds(s.Synced) })
		}},
		{"restart: CPU", func(r *Run) string {
			return of(r.Restart, func(s *Restart) string { return seconds(s.CPU) })
		}},
		{"restart: lines written", func(r *Run) string {
			if r.Restart == nil || r.Restart.Written == nil {
				return ""
			}
			return number(*r.Restart.Written)
		}},
		{"idle: CPU per minute", func(r *Run) string {
			return of(r.Idle, func(i *Idle) string { return seconds(i.perMinute()) })
		}},
		{"resident memory, steady / peak", func(r *Run) string {
			return of(r.Memory, func(m *Memory) string { return fmt.Sprintf("%.0f / %.0f MiB", m.Steady, m.Peak) })
		}},
	}
}

func (i *Idle) perMinute() float64 { return i.CPU / i.Seconds * 60 }

func changeRows() []row {
	delay := func(c *Changes) string { return fmt.Sprintf("%s / %s", seconds(c.P50), seconds(c.P99)) }
	share := func(c *Changes) string { return fmt.Sprintf("%.1f %%", 100*c.CPU) }
	return []row{
		{"one endpoint changed: API write to first packet, p50 / p99", func(r *Run) string { return of(r.One, delay) }},
		{"one endpoint changed: CPU", func(r *Run) string {
			return of(r.One, func(c *Changes) string { return seconds(c.CPU) })
		}},
		{"one endpoint changed: lines written", func(r *Run) string {
			if r.One == nil || r.One.Lines == nil {
				return ""
			}
			return number(*r.One.Lines)
		}},
		{"10 changes/s: API write to first packet", func(r *Run) string { return of(r.Ten, delay) }},
		{"10 changes/s: CPU, of one processor", func(r *Run) string { return of(r.Ten, share) }},
		{"50 changes/s: API write to first packet", func(r *Run) string { return of(r.Fifty, delay) }},
		{"50 changes/s: CPU, of one processor", func(r *Run) string { return of(r.Fifty, share) }},
	}
}

// of is empty for what was not measured.
func of[T any](measured *T, print func(*T) string) string {
	if measured == nil {
		return ""
	}
	return print(measured)
}
