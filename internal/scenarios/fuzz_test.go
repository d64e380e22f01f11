package scenarios

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// FuzzObjects gives Build and all that comes after it a Service and a slice that no
// API server and no reader of manifests has looked at. Whatever they hold, what is
// made for the kernel is as with plain names: no line more, and each of them one
// that is understood.
func FuzzObjects(f *testing.F) {
	for _, seed := range objectSeeds(f) {
		f.Add(seed[0], seed[1])
	}
	c, err := config.Default()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, serviceJSON, sliceJSON []byte) {
		var service corev1.Service
		var slice discoveryv1.EndpointSlice
		if json.Unmarshal(serviceJSON, &service) != nil || json.Unmarshal(sliceJSON, &slice) != nil {
			return
		}
		if service.Name == "" || strings.ContainsAny(service.Namespace+service.Name, "/:") {
			return // belongs to no slice, or is refused as a name
		}
		slice.Namespace = service.Namespace
		if slice.Labels == nil {
			slice.Labels = map[string]string{}
		}
		slice.Labels[discoveryv1.LabelServiceName] = service.Name
		plainService, plainSlice := service.DeepCopy(), slice.DeepCopy()
		rename(plainService, plainSlice)
		for _, family := range proxier.Families {
			have, want := made(t, c, family, &service, &slice), made(t, c, family, plainService, plainSlice)
			for what, n := range want {
				if have[what] != n {
					t.Errorf("%s: %s has %d lines, want %d as with plain names", family, what, have[what], n)
				}
			}
		}
	})
}

// objectSeeds are the Services of all scenarios, each with one of its slices.
func objectSeeds(f *testing.F) [][2][]byte {
	f.Helper()
	all, err := LoadAll(folder)
	if err != nil {
		f.Fatal(err)
	}
	var seeds [][2][]byte
	for _, s := range all {
		for i, service := range s.Objects.Services {
			if i == 3 {
				break // the rest looks the same
			}
			slice := &discoveryv1.EndpointSlice{}
			for _, candidate := range s.Objects.EndpointSlices {
				if candidate.Labels[discoveryv1.LabelServiceName] == service.Name && candidate.Namespace == service.Namespace {
					slice = candidate
				}
			}
			var seed [2][]byte
			for i, object := range []any{service, slice} {
				if seed[i], err = json.Marshal(object); err != nil {
					f.Fatal(err)
				}
			}
			seeds = append(seeds, seed)
		}
	}
	return seeds
}

// rename gives plain names to all that has one, in the same order.
func rename(service *corev1.Service, slice *discoveryv1.EndpointSlice) {
	names := map[string]bool{}
	for _, p := range service.Spec.Ports {
		names[p.Name] = true
	}
	for _, p := range slice.Ports {
		if p.Name != nil {
			names[*p.Name] = true
		}
	}
	plain := map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(names)) {
		if plain[name] = fmt.Sprintf("port%06d", i); name == "" {
			plain[name] = ""
		}
	}
	for i := range service.Spec.Ports {
		service.Spec.Ports[i].Name = plain[service.Spec.Ports[i].Name]
	}
	for i := range slice.Ports {
		if p := &slice.Ports[i]; p.Name != nil {
			name := plain[*p.Name]
			p.Name = &name
		}
	}
	service.Namespace, service.Name = "ns", "name"
	slice.Namespace, slice.Name, slice.Labels[discoveryv1.LabelServiceName] = "ns", "slice", "name"
}

// made is what is made of the objects, in lines for each table and tool. All of it
// is read back strictly.
func made(t *testing.T, c *config.Config, family proxier.Family, service *corev1.Service, slice *discoveryv1.EndpointSlice) map[string]int {
	t.Helper()
	s := &Scenario{Config: c, Objects: &source.Objects{
		Node: standardNode(), Services: []*corev1.Service{service}, EndpointSlices: []*discoveryv1.EndpointSlice{slice},
	}}
	state := s.State(family)
	v := s.IPVS(nil, state, iptables.AllFeatures())
	lines := map[string]int{}
	for mode, rules := range map[string]iptables.Ruleset{"iptables": s.IPTables(family, iptables.AllFeatures()), "ipvs": v.Rules.Ruleset} {
		text := rules.String()
		checkLines(t, text)
		checkParse(t, mode+": ", rules)
		for _, table := range rules.Tables {
			lines[mode+", table "+table.Name] = table.RuleCount() + len(table.Chains)
		}
		lines[mode+", all"] = strings.Count(text, "\n")
	}
	checkVirtualParse(t, v)
	for tool, text := range map[string]string{"ipset": ipset.Text(v.Compiled.Sets), "ipvsadm": ipvs.Text(v.Compiled.Servers)} {
		checkLines(t, text)
		lines[tool] = strings.Count(text, "\n")
	}
	if _, err := tracer.New(s.IPTables(family, iptables.AllFeatures()), tracer.Host{}); err != nil {
		t.Error(err)
	}
	if _, err := v.Tracer(s); err != nil {
		t.Error(err)
	}
	for _, p := range state.Problems {
		checkLines(t, p.String()+"\n")
	}
	return lines
}

// checkLines wants printable lines that any tool takes for one.
func checkLines(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("%q is not printable", line)
		}
	}
}
