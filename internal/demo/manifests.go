package main

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed manifests/*.yaml
var files embed.FS

// endpointsFile is the one that changes during the demo.
const endpointsFile = "endpoints.yaml"

// writeManifests fills the folder that the daemons watch.
func (s *stage) writeManifests() error {
	entries, err := files.ReadDir("manifests")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		text, err := files.ReadFile("manifests/" + entry.Name())
		if err != nil {
			return err
		}
		if err := s.writeManifest(entry.Name(), string(text)); err != nil {
			return err
		}
	}
	return s.writeManifest(endpointsFile, endpoints("web-1", "web-2"))
}

// writeManifest replaces a file at once: a reader sees the old or the new.
func (s *stage) writeManifest(name, text string) error {
	path := filepath.Join(s.manifests, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// endpoints are the EndpointSlices of all Services, where web has these pods.
func endpoints(web ...string) string {
	both := []string{"web-1", "web-2"}
	return endpointSlices("web", serverPort, web) +
		endpointSlices("stats", serverPort, both) +
		endpointSlices("cart", serverPort, both) +
		endpointSlices("dns", dnsPort, []string{"web-2"})
}

// endpointSlices are the two EndpointSlices, one per family, of a Service with these pods.
func endpointSlices(service string, port int, pods []string) string {
	name, protocol := "http", "TCP"
	if port == dnsPort {
		name, protocol = "dns", "UDP"
	}
	var b strings.Builder
	for _, family := range []string{"IPv4", "IPv6"} {
		fmt.Fprintf(&b, `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: %s-%s, labels: {kubernetes.io/service-name: %s}}
addressType: %s
ports:
- {name: %s, protocol: %s, port: %d}
endpoints:
`, service, strings.ToLower(family), service, family, name, protocol, port)
		for _, plan := range podPlans() {
			for _, pod := range pods {
				if plan.name == pod {
					fmt.Fprintf(&b, "- {addresses: [%q], nodeName: %s}\n", plan.addr(family), plan.node)
				}
			}
		}
	}
	return b.String()
}

func (p podPlan) addr(family string) string {
	if family == "IPv4" {
		return p.addr4
	}
	return p.addr6
}
