package config

import (
	"maps"
	"slices"
	"strings"
)

// withoutEffect are the fields that are accepted and change nothing, with the
// reason; a path that ends in a dot stands for all fields below. Whoever writes
// one of them is told. A field that gets its effect leaves this table.
func withoutEffect() map[string]string {
	const (
		notSet     = "is not set yet: the node's value stays in force"
		otherMode  = "is for another mode than iptables, the only one so far"
		windows    = "is for Windows only"
		logRouting = "has no effect: logs go to standard error, unbuffered"
	)
	return map[string]string{
		"showHiddenMetricsForVersion": "has no effect: no metrics are hidden",
		"configSyncPeriod":            "has no effect: every change is acted upon, there is no second copy to go through again",
		"conntrack.":                  notSet,
		"oomScoreAdj":                 notSet,
		"ipvs.":                       otherMode,
		"nftables.":                   otherMode,
		"winkernel.":                  windows,
		"windowsRunAsService":         windows,
		"portRange":                   "was for kube-proxy's userspace mode, which is gone",
		"logging.options.":            logRouting,
	}
}

// whyWithoutEffect returns the reason why a field changes nothing.
func whyWithoutEffect(path string) (string, bool) {
	table := withoutEffect()
	if why, ok := table[path]; ok {
		return why, true
	}
	for prefix, why := range table {
		if strings.HasSuffix(prefix, ".") && strings.HasPrefix(path, prefix) {
			return why, true
		}
	}
	return "", false
}

// warnWithoutEffect names the written fields that change nothing.
func (v *validator) warnWithoutEffect() {
	for _, path := range slices.Sorted(maps.Keys(v.written)) {
		if why, ok := whyWithoutEffect(path); ok {
			v.warnings = append(v.warnings, Warning{v.name(path), why})
		}
	}
}
