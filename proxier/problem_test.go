package proxier

import "testing"

func TestProblemIsOnePrintableLine(t *testing.T) {
	for name, test := range map[string]struct {
		problem Problem
		want    string
	}{
		"field and value": {
			Problem{Kind: "Service", Namespace: "a", Name: "web", Field: "spec.clusterIP", Value: "x\ny", Reason: "is not an IP address"},
			`Service a/web: spec.clusterIP "x\ny": is not an IP address`,
		},
		"place": {
			Problem{Kind: "Node", Name: "n", Where: "a b.yaml, document 2", Reason: "is bad"},
			`Node n: is bad (a b.yaml, document 2)`,
		},
		"place that would break the line": {
			Problem{Kind: "Node", Name: "n", Where: "a\n.yaml", Reason: "is bad"},
			`Node n: is bad ("a\n.yaml")`,
		},
		"name that would break the line": {
			Problem{Kind: "Manifest", Name: "a\x1b.yaml", Reason: "is bad"},
			`Manifest "a\x1b.yaml": is bad`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.problem.String(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}
