package source

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

// FuzzManifests feeds the decoder with anything at all. It must neither panic
// nor let a name through that is none, and say the same thing each time.
func FuzzManifests(f *testing.F) {
	for _, seed := range []string{
		"", "---\n---\n", web, web + "---" + webSlice, web + "---\n[", "{", `{"kind":"List","apiVersion":"v1","items":[{}]}`,
		"%YAML 1.2\n---\na: &a [*a]\n", "\xef\xbb\xbf{}", "a: \x00", "--- |\n ---\n", "? {}\n: 1\n", "1: 2\n", "<<: [1]\n", "a: !!binary x\n",
		strings.Replace(web, "name: web", `name: "\n-A INPUT -j ACCEPT"`, 1),
		strings.Replace(web, "10.0.0.1", "010.0.0.1, clusterIPs: [None]", 1),
		strings.Replace(webSlice, "port: 8080", "name: null, port: -1", 1),
		"apiVersion: v1\nkind: Node\nmetadata: {name: here}\nstatus: {addresses: [{type: InternalIP, address: x}]}\n",
		"apiVersion: v1\nkind: NodeList\nitems: [null, 1, {metadata: {name: here}}]\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first := decode("fuzz", data, "here")
		for _, item := range first.items {
			name, namespace := item.object.GetName(), item.object.GetNamespace()
			if len(validation.IsDNS1123Subdomain(name)) > 0 || namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
				t.Errorf("%s %q/%q", item.kind, namespace, name)
			}
		}
		for _, p := range first.problems {
			if strings.ContainsAny(p.String(), "\n\r\x1b") {
				t.Errorf("a problem is no line of text: %q", p.String())
			}
		}
		second := decode("fuzz", data, "here")
		if len(first.items) != len(second.items) || len(first.problems) != len(second.problems) {
			t.Errorf("%d items and %d problems, then %d and %d", len(first.items), len(first.problems), len(second.items), len(second.problems))
		}
	})
}
