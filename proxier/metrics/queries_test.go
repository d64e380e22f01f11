package metrics_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const monitoring = "../../deploy/monitoring/"

// TestQueriesAskForWhatIsServed: every metric and label that the alerts and the
// dashboard name is on /metrics, or made by Prometheus.
func TestQueriesAskForWhatIsServed(t *testing.T) {
	known := served(t, everything(t))
	for name := range known { // what the text format adds to a histogram
		if known[name].Type == "histogram" {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				known[name+suffix] = known[name]
			}
		}
	}
	known["up"] = metric{}
	for where, query := range queries(t) {
		names, labels := namesIn(query)
		if len(names) == 0 {
			t.Errorf("%s: no metric in %s", where, query)
		}
		allowed := []string{"job", "instance", "node", "le"}
		for _, name := range names {
			m, ok := known[name]
			if !ok {
				t.Errorf("%s: nobody serves %s", where, name)
			}
			allowed = append(allowed, strings.Fields(m.Labels)...)
		}
		for _, label := range labels {
			if !slices.Contains(allowed, label) {
				t.Errorf("%s: %v have no label %s", where, names, label)
			}
		}
	}
}

// queries are those of alerts and panels, by where they are.
func queries(t *testing.T) map[string]string {
	t.Helper()
	var rules struct {
		Spec struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
	}
	read(t, "prometheusrule.yaml", &rules)
	found := map[string]string{}
	for _, group := range rules.Spec.Groups {
		for _, rule := range group.Rules {
			found["alert "+rule.Alert] = rule.Expr
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, RefID, LegendFormat string }
		}
	}
	read(t, "dashboard.json", &dashboard)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			found["panel "+panel.Title+" "+target.RefID] = target.Expr + " # " + target.LegendFormat
		}
	}
	if len(found) < 30 {
		t.Fatalf("only %d queries are found", len(found))
	}
	return found
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(monitoring + file)
	if err != nil {
		t.Fatal(err)
	}
	decode := json.Unmarshal
	if strings.HasSuffix(file, ".yaml") {
		decode = func(text []byte, into any) error { return yaml.Unmarshal(text, into) }
	}
	if err := decode(text, into); err != nil {
		t.Fatal(err)
	}
}

var (
	matchers    = regexp.MustCompile(`\{([^{}]*)\}`)
	matched     = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping    = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	legend      = regexp.MustCompile(`\{\{(\w+)\}\}`)
	durations   = regexp.MustCompile(`\[[^]]*\]`)
	identifiers = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*\s*\(?`)
)

// namesIn are the metrics of a query, and the labels it and its legend name.
func namesIn(query string) (names, labels []string) {
	query, format, _ := strings.Cut(query, " # ")
	for _, m := range legend.FindAllStringSubmatch(format, -1) {
		labels = append(labels, m[1])
	}
	for _, m := range matchers.FindAllStringSubmatch(query, -1) {
		for _, l := range matched.FindAllStringSubmatch(m[1], -1) {
			labels = append(labels, l[1])
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(query, -1) {
		labels = append(labels, strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	rest := durations.ReplaceAllString(grouping.ReplaceAllString(matchers.ReplaceAllString(query, " "), " "), " ")
	for _, word := range identifiers.FindAllString(rest, -1) {
		name := strings.TrimSpace(word)
		if !strings.HasSuffix(name, "(") && !slices.Contains([]string{"and", "or", "unless", "bool"}, name) {
			names = append(names, name)
		}
	}
	return names, labels
}
