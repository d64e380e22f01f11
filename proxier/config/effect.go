package config

import (
	"maps"
	"slices"
	"strings"
)

// withoutEffect are the fields that are accepted and change nothing in a mode,
// with the reason; a path that ends in a dot stands for all fields below. Whoever writes
// one of them is told. A field that gets its effect leaves this table.
func withoutEffect(mode string) map[string]string {
	const (
		windows    = "is for Windows only"
		logRouting = "has no effect: logs go to standard error, unbuffered"
	)
	otherMode := "is for another mode than " + mode
	table := map[string]string{
		"showHiddenMetricsForVersion": "has no effect: no metrics are hidden",
		"configSyncPeriod":            "has no effect: every change is acted upon, there is no second copy to go through again",
		"nftables.":                   otherMode,
		"winkernel.":                  windows,
		"windowsRunAsService":         windows,
		"portRange":                   "was for kube-proxy's userspace mode, which is gone",
		"logging.options.":            logRouting,
	}
	if mode == ModeIPVS {
		table["iptables.syncPeriod"], table["iptables.minSyncPeriod"] = otherMode, otherMode
		table["iptables.localhostNodePorts"] = otherMode + ", where node ports are not served on 127.0.0.1"
	} else {
		for _, field := range []string{
			"scheduler", "strictARP", "tcpTimeout", "tcpFinTimeout", "udpTimeout", "syncPeriod", "minSyncPeriod",
			"removeForeign",
		} {
			table["ipvs."+field] = otherMode
		}
	}
	return table
}

// whyWithoutEffect returns the reason why a field changes nothing.
func whyWithoutEffect(path, mode string) (string, bool) {
	table := withoutEffect(mode)
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
func (v *validator) warnWithoutEffect(mode string) {
	for _, path := range slices.Sorted(maps.Keys(v.written)) {
		if why, ok := whyWithoutEffect(path, mode); ok {
			v.warnings = append(v.warnings, Warning{v.name(path), why})
		}
	}
}
