package reference

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/scenarios"
)

// fileOf is a crowd as a scenario, with these lines as packets.
func fileOf(t testing.TB, c *clustergen.Crowd, packets ...string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("Found at random.\n")
	section := func(name string, objects ...any) {
		fmt.Fprintf(&b, "-- %s --\n", name)
		for i, o := range objects {
			text, err := short(o)
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				b.WriteString("---\n")
			}
			b.Write(text)
		}
	}
	section("config.yaml", c.Config)
	objects := []any{c.Node}
	for _, n := range c.Others {
		objects = append(objects, n)
	}
	for _, s := range c.Services {
		objects = append(objects, s)
	}
	for _, s := range c.Slices {
		objects = append(objects, s)
	}
	section("objects.yaml", objects...)
	if len(c.Devices) > 0 {
		fmt.Fprintf(&b, "-- devices --\n%s\n", strings.Join(c.Devices, "\n"))
	}
	fmt.Fprintf(&b, "-- packets --\n%s\n", strings.Join(packets, "\n"))
	return b.String()
}

// short is an object as YAML, without fields that say nothing.
func short(object any) ([]byte, error) {
	text, err := yaml.Marshal(object)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := yaml.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	if status, ok := fields["status"].(map[string]any); ok {
		delete(status, "nodeInfo")
	}
	if withoutZeros(fields) == nil {
		return nil, nil
	}
	return yaml.Marshal(fields)
}

func withoutZeros(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			if field = withoutZeros(field); field == nil {
				delete(v, name)
			} else {
				v[name] = field
			}
		}
		if len(v) == 0 {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	}
	return v
}

// scenarioOf reads what fileOf writes, so that all of the program's ways from a
// file to rules are held against the model.
func scenarioOf(t testing.TB, c *clustergen.Crowd) *scenarios.Scenario {
	t.Helper()
	text := fileOf(t, c, "client 192.0.2.7 192.0.2.8:9/tcp -")
	s, err := scenarios.Parse("random.txtar", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s
}
