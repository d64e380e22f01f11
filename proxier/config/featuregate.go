package config

import (
	"maps"
	"slices"
	"strconv"
)

const allowServiceExternalIPs = "AllowServiceExternalIPs"

// A gate is a feature gate of kube-proxy 1.36 and what becomes of it here.
type gate struct {
	// locked gates are always on.
	locked bool
	// without tells why turning it on or off changes nothing; empty when it does.
	without string
}

// gates are the feature gates a proxy's configuration may name.
func gates() map[string]gate {
	const logging, metrics = "how is logged does not depend on it", "what is served does not depend on it"
	return map[string]gate{
		allowServiceExternalIPs:         {},
		"MultiCIDRServiceAllocator":     {locked: true},
		"NFTablesProxyMode":             {locked: true},
		"PreferSameTrafficDistribution": {locked: true},
		"TopologyAwareHints":            {locked: true},
		"ServiceTrafficDistribution":    {locked: true},
		"AllAlpha":                      {without: "there are no alpha features"},
		"AllBeta":                       {without: "there are no beta features"},
		"KubeProxyIPVS":                 {without: "mode decides alone"},
		"ComponentFlagz":                {without: metrics},
		"ComponentStatusz":              {without: metrics},
		"ComponentSLIs":                 {without: metrics},
		"NativeHistograms":              {without: metrics},
		"ContextualLogging":             {without: logging},
		"LoggingAlphaOptions":           {without: logging},
		"LoggingBetaOptions":            {without: logging},
		"WatchListClient":               {without: "the client decides alone"},
		"InformerResourceVersion":       {without: "the client decides alone"},
		"InOrderInformers":              {without: "the client decides alone"},
		"ClientsAllowCBOR":              {without: "protobuf is used"},
		"ClientsPreferCBOR":             {without: "protobuf is used"},
	}
}

// featureGates sets what gates decide.
func (v *validator) featureGates(written map[string]bool, c *Config) {
	known := gates()
	c.ExternalIPs = true
	for _, name := range slices.Sorted(maps.Keys(written)) {
		on, field := written[name], v.name("featureGates")+"."+name
		g, ok := known[name]
		switch {
		case !ok:
			// Clusters set the gates of other components here, too.
			v.warnings = append(v.warnings, Warning{v.name("featureGates") + "." + printable(name), "has no effect: it is no feature gate of the proxy"})
		case g.locked && !on:
			v.invalidAt(field, on, "is always on and cannot be turned off: must be true")
		case g.without != "":
			v.warnings = append(v.warnings, Warning{field, "has no effect: " + g.without})
		case name == allowServiceExternalIPs:
			c.ExternalIPs = on
		}
	}
}

// printable quotes a name that could garble a line of output.
func printable(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
