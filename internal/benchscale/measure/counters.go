package measure

import (
	"fmt"
	"strconv"
	"strings"
)

// Counters are the values of a metrics page by metric name, added up over labels.
type Counters map[string]float64

// ParseCounters reads Prometheus' text format. Lines of NaN and infinity count 0.
func ParseCounters(page string) (Counters, error) {
	all := Counters{}
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		space := strings.LastIndexByte(line, ' ')
		if space < 0 {
			return nil, fmt.Errorf("metrics: line %q has no value", line)
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: line %q: %w", line, err)
		}
		name, _, _ := strings.Cut(line[:space], "{")
		if value-value == 0 { // neither NaN nor infinite
			all[name] += value
		}
	}
	return all, nil
}
