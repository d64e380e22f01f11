package preflight

import (
	"strings"
	"testing"
)

func TestProxyName(t *testing.T) {
	for line, want := range map[string]string{
		"/usr/local/bin/kube-proxy --config=/c":       "kube-proxy",
		"kube-proxier":                                "kube-proxier",
		"/bin/kube-proxier --config=/c -v=2":          "kube-proxier",
		"kube-proxier check":                          "",
		"kube-proxier render -f x":                    "",
		"kube-proxy --cleanup":                        "",
		"kube-proxy --init_only":                      "",
		"kube-proxier --dry-run":                      "",
		"kube-router --run-router=true":               "kube-router",
		"kube-router --run-service-proxy=false":       "",
		"/usr/bin/kube-proxy-exporter --kube-proxy=x": "",
		"": "",
	} {
		if have := proxyName(strings.Split(line, " ")); have != want {
			t.Errorf("%s: %q, want %q", line, have, want)
		}
	}
}
