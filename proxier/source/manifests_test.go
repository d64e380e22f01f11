package source

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/proxier"
)

const (
	web = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
`
	webSlice = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.1.0.1]}]
`
)

// summary is a line for each object.
func summary(o *Objects) []string {
	var lines []string
	for _, s := range o.Services {
		line := fmt.Sprintf("Service %s/%s %s", s.Namespace, s.Name, strings.Join(s.Spec.ClusterIPs, ","))
		for _, p := range s.Spec.Ports {
			line += fmt.Sprintf(" %s/%d/%s", p.Name, p.Port, p.Protocol)
		}
		lines = append(lines, line)
	}
	for _, s := range o.EndpointSlices {
		line := fmt.Sprintf("EndpointSlice %s/%s %s", s.Namespace, s.Name, s.AddressType)
		for _, p := range s.Ports {
			line += fmt.Sprintf(" %s/%d/%s", *p.Name, *p.Port, *p.Protocol)
		}
		for _, e := range s.Endpoints {
			line += " " + strings.Join(e.Addresses, ",")
		}
		lines = append(lines, line)
	}
	if o.Node != nil {
		lines = append(lines, "Node "+o.Node.Name)
	}
	for _, kind := range slices.Sorted(maps.Keys(o.Skipped)) {
		lines = append(lines, fmt.Sprintf("skipped %s %d", kind, o.Skipped[kind]))
	}
	return lines
}

func texts(problems []proxier.Problem) []string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return lines
}

func checkLines(t *testing.T, what string, want, got []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

const (
	servedWeb  = "Service default/web 10.0.0.1 /80/TCP"
	servedWeb1 = "EndpointSlice default/web-1 IPv4 /8080/TCP 10.1.0.1"
)

func TestLoadReadsStandardInput(t *testing.T) {
	for name, test := range map[string]struct {
		in       string
		objects  []string
		problems []string
	}{
		"nothing":           {},
		"comments only":     {in: "# nothing\n---\n# here\n...\n"},
		"null documents":    {in: "---\nnull\n---\n~\n"},
		"two documents":     {in: web + "---" + webSlice, objects: []string{servedWeb, servedWeb1}},
		"directive":         {in: "%YAML 1.1\n---" + web, objects: []string{servedWeb}},
		"Windows line ends": {in: strings.ReplaceAll(web+"---"+webSlice, "\n", "\r\n"), objects: []string{servedWeb, servedWeb1}},
		"byte order mark":   {in: "\xef\xbb\xbf" + web, objects: []string{servedWeb}},
		"marker with a comment or content": {
			in:      "--- # first" + web + "--- {apiVersion: v1, kind: Pod}\n",
			objects: []string{servedWeb, "skipped v1 Pod 1"},
		},
		"dashes in a block of text are no marker": {
			in:      "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n    ---\n    b\n---" + web,
			objects: []string{servedWeb, "skipped v1 ConfigMap 1"},
		},
		"anchors": {
			in: "apiVersion: v1\nkind: Service\nmetadata: {name: &n web, labels: {app: *n}}\nspec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}\n", objects: []string{servedWeb},
		},
		"JSON": {
			in:      `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"clusterIP":"10.0.0.1","ports":[{"port":80}]}}` + "\n" + `{"apiVersion":"v1","kind":"Pod"}`,
			objects: []string{servedWeb, "skipped v1 Pod 1"},
		},
		"braces that are YAML": {
			in:      `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}`,
			objects: []string{servedWeb},
		},
		"kubectl's list": {
			in: "apiVersion: v1\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}\n" +
				"- {apiVersion: v1, kind: Node, metadata: {name: here}}\n- {apiVersion: v1, kind: Node, metadata: {name: there}}\n" +
				"- {apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: kubernetes}, spec: {cidrs: [10.0.0.0/16, 'fd00::/112']}}\n" +
				"kind: List\nmetadata: {resourceVersion: \"\"}\n",
			objects: []string{servedWeb, "Node here", "skipped networking.k8s.io/v1 ServiceCIDR 1"},
		},
		"typed list, whose items have no type": {
			in:      "apiVersion: v1\nkind: ServiceList\nitems:\n- {metadata: {name: web}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}\n",
			objects: []string{servedWeb},
		},
		"empty list":                    {in: "apiVersion: v1\nkind: List\nitems: []\n"},
		"list of other kinds":           {in: "apiVersion: v1\nkind: PodList\nitems: [{}, {}]\n", objects: []string{"skipped v1 PodList 1"}},
		"kind of another group":         {in: "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: web}\n", objects: []string{"skipped serving.knative.dev/v1 Service 1"}},
		"kind with a control character": {in: "apiVersion: v1\nkind: \"a\\e[31m\"\n", objects: []string{`skipped "v1 a\x1b[31m" 1`}},
		"unknown fields":                {in: strings.Replace(web, "spec:", "nonsense: {a: [1]}\nspec:", 1), objects: []string{servedWeb}},
		"headless, and what another proxy serves": {
			in: strings.Replace(web, "10.0.0.1", "None", 1) + "---" +
				strings.Replace(web, "name: web", "name: other, labels: {service.kubernetes.io/service-proxy-name: x}", 1) + "---" +
				strings.Replace(webSlice, "labels: {", "labels: {service.kubernetes.io/headless: '', ", 1),
		},
		"null where an object should be": {
			in: "apiVersion: v1\nkind: Service\nmetadata: null\n",
			problems: []string{
				"Service default/: metadata.name: is missing: the object is left out (standard input, document 1, line 1)",
			},
		},
		"list within a list": {
			in:       "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: []}]\n",
			problems: []string{`Manifest "standard input": document 1, line 1, items[0]: is a list within a list: it is left out`},
		},
		"items that are no list": {
			in:       "apiVersion: v1\nkind: List\nitems: 5\n",
			problems: []string{`Manifest "standard input": document 1, line 1, items: must be a list, is number`},
		},
		"every Node is another one": {
			in:       "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Node, metadata: {name: b}}, {apiVersion: v1, kind: Node, metadata: {name: a}}]\n",
			problems: []string{"Node here: metadata.name: is none of the Nodes that are there (a, b): is the node's name right?"},
		},
		"binary": {
			in:       "a: 1\n\x00\x01",
			problems: []string{`Manifest "standard input": document 1, line 2: is not UTF-8 text: save it as UTF-8`},
		},
		"Latin-1": {
			in:       "a: 1\nb: caf\xe9\n",
			problems: []string{`Manifest "standard input": document 1, line 2: is not UTF-8 text: save it as UTF-8`},
		},
		"tab": {
			in: "---" + web + "---\nkind:\n\tService\n", objects: []string{servedWeb},
			problems: []string{`Manifest "standard input": document 2, line 8: is not YAML: found character that cannot start any token (the line is indented with a tab; YAML allows spaces only)`},
		},
		"broken document between good ones": {
			in: web + "---\na: [\n---" + webSlice, objects: []string{servedWeb, servedWeb1},
			problems: []string{`Manifest "standard input": document 2, line 7: is not YAML: did not find expected node content`},
		},
		"key given twice": {
			in:       "kind: Service\nkind: Node\n",
			problems: []string{`Manifest "standard input": document 1, line 2: is not YAML: key "kind" already set in map`},
		},
		"aliases that explode": {
			in:       "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
			problems: []string{`Manifest "standard input": document 1, line 1: is not YAML: document contains excessive aliasing`},
		},
		"text that is no object": {
			in: "just words\n", problems: []string{`Manifest "standard input": document 1, line 1: must be an object, is string: the object is left out`},
		},
		"no kind": {
			in: "apiVersion: v1\n", problems: []string{`Manifest "standard input": document 1, line 1, kind: is missing: the object is left out`},
		},
		"no apiVersion": {
			in: "kind: Service\n", problems: []string{`Manifest "standard input": document 1, line 1, apiVersion: is missing: the object is left out`},
		},
		"kind that is no text": {
			in: "kind: [Service]\n", problems: []string{`Manifest "standard input": document 1, line 1, kind: must be string, is array: the object is left out`},
		},
		"old version of a kind": {
			in:       strings.Replace(webSlice, "discovery.k8s.io/v1", "discovery.k8s.io/v1beta1", 1),
			problems: []string{`EndpointSlice default/web-1: apiVersion "discovery.k8s.io/v1beta1": must be discovery.k8s.io/v1: the object is left out (standard input, document 1, line 2)`},
		},
		"field of a wrong type": {
			in:       strings.Replace(web, "port: 80", "port: http", 1) + "---" + webSlice,
			objects:  []string{servedWeb1},
			problems: []string{"Service default/web: spec.ports.port: must be int32, is string: the object is left out (standard input, document 1, line 2)"},
		},
		"number that does not fit": {
			in:       strings.Replace(web, "port: 80", "port: 99999999999", 1),
			problems: []string{"Service default/web: spec.ports.port: must be int32, is number 99999999999: the object is left out (standard input, document 1, line 2)"},
		},
		"no object with that name twice": {
			in: web + "---" + strings.Replace(web, "10.0.0.1", "10.0.0.9", 1), objects: []string{servedWeb},
			problems: []string{"Service default/web: is there twice: the one in standard input, document 1, line 2 is kept (standard input, document 2, line 7)"},
		},
		"names that are none": {
			in: strings.Replace(web, "name: web", `name: "w\n-A X"`, 1) + "---" +
				strings.Replace(web, "name: web", `name: web, namespace: "$(id)"`, 1) + "---" +
				strings.Replace(webSlice, "service-name: web", "service-name: 'a\"b'", 1),
			problems: []string{
				`Service "default/w\n-A X": metadata.name "w\n-A X": must be a DNS name of lower case letters, digits and '-': the object is left out (standard input, document 1, line 2)`,
				`Service $(id)/web: metadata.namespace "$(id)": must be lower case letters, digits and '-', at most 63: the object is left out (standard input, document 2, line 7)`,
				`EndpointSlice default/web-1: metadata.labels[kubernetes.io/service-name] "a\"b": is not the name of a Service: the slice is not used (standard input, document 3, line 12)`,
			},
		},
		"port names that are none": {
			in: strings.Replace(web, "{port: 80}", "{port: 80, name: 'a b'}, {port: 81, name: ok}", 1) + "---" +
				strings.Replace(webSlice, "{port: 8080}", "{port: 1, name: '`'}, {port: 2, protocol: tcp}, {port: 3}", 1),
			objects: []string{"Service default/web 10.0.0.1 ok/81/TCP", "EndpointSlice default/web-1 IPv4 /3/TCP 10.1.0.1"},
			problems: []string{
				`Service default/web: spec.ports[0].name "a b": must be lower case letters, digits and '-', at most 63: the port is left out (standard input, document 1, line 2)`,
				"EndpointSlice default/web-1: ports[0].name \"`\": must be lower case letters, digits and '-', at most 63: the port is left out (standard input, document 2, line 7)",
				`EndpointSlice default/web-1: ports[1].protocol "tcp": must be TCP, UDP or SCTP: the port is left out (standard input, document 2, line 7)`,
			},
		},
		"slice without Service or family": {
			in: strings.Replace(webSlice, "kubernetes.io/service-name: web", "a: b", 1) + "---" + strings.Replace(webSlice, "addressType: IPv4", "", 1),
			problems: []string{
				"EndpointSlice default/web-1: metadata.labels[kubernetes.io/service-name]: is missing: the slice belongs to no Service and is not used (standard input, document 1, line 2)",
				"EndpointSlice default/web-1: addressType: must be IPv4, IPv6 or FQDN: the slice is not used (standard input, document 2, line 9)",
			},
		},
		"kind that a proxy does not read, whatever it holds": {
			in:      "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: [10.0.0.0/16, x]}\n---" + web,
			objects: []string{servedWeb, "skipped networking.k8s.io/v1 ServiceCIDR 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := Manifests{Path: Stdin, In: strings.NewReader(test.in), NodeName: "here"}
			objects, problems, err := m.Load()
			if err != nil {
				t.Fatal(err)
			}
			checkLines(t, "objects", test.objects, summary(objects))
			checkLines(t, "problems", test.problems, texts(problems))
		})
	}
}

func TestLoadLimitsProblemsOfOneFile(t *testing.T) {
	m := Manifests{Path: Stdin, In: strings.NewReader(strings.Repeat("---\n[\n", 1000) + "---" + web)}
	objects, problems, err := m.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != maxProblems+1 || problems[maxProblems].Reason != "has 900 more problems" {
		t.Errorf("%d problems, the last one %s", len(problems), problems[len(problems)-1])
	}
	checkLines(t, "objects", []string{servedWeb}, summary(objects))
}

// write makes a file with its folders.
func write(t *testing.T, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func service(name, ip string) string {
	return strings.NewReplacer("name: web", "name: "+name, "10.0.0.1", ip).Replace(web)
}

func TestLoadReadsFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, service("b", "10.0.0.2"), dir, "b.yaml")
	write(t, service("a", "10.0.0.1"), dir, "deep", "er", "a.YML")
	write(t, `{"apiVersion":"v1","kind":"Pod"}`, dir, "pod.json")
	write(t, service("c", "10.0.0.3"), dir, "notes.txt")
	write(t, service("d", "10.0.0.4"), dir, ".b.yaml.swp.yaml")
	write(t, service("e", "10.0.0.5"), dir, "..2026_01_01", "e.yaml")
	if err := os.Symlink("..2026_01_01/e.yaml", filepath.Join(dir, "e.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling.yaml")); err != nil {
		t.Fatal(err)
	}
	write(t, service("b", "10.0.0.6"), dir, "z.yaml")

	objects, problems, err := (&Manifests{Path: dir}).Load()
	if err != nil {
		t.Fatal(err)
	}
	checkLines(t, "objects", []string{
		"Service default/b 10.0.0.2 /80/TCP", "Service default/a 10.0.0.1 /80/TCP", "Service default/e 10.0.0.5 /80/TCP", "skipped v1 Pod 1",
	}, summary(objects))
	checkLines(t, "problems", []string{
		fmt.Sprintf("Service default/b: is there twice: the one in %s/b.yaml, document 1, line 2 is kept (%s/z.yaml, document 1, line 2)", dir, dir),
	}, texts(problems))
	if objects.Files != 5 {
		t.Errorf("%d files, want 5", objects.Files)
	}
}

func TestLoadReadsANamedFileWhateverItsName(t *testing.T) {
	dir := t.TempDir()
	write(t, web, dir, "notes.txt")
	objects, _, err := (&Manifests{Path: filepath.Join(dir, "notes.txt")}).Load()
	if err != nil {
		t.Fatal(err)
	}
	checkLines(t, "objects", []string{servedWeb}, summary(objects))
}

func TestLoadSaysWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := (&Manifests{Path: filepath.Join(dir, "none")}).Load(); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("missing path: %v", err)
	}
	if _, _, err := (&Manifests{}).Load(); err == nil {
		t.Error("no path: no error")
	}
	write(t, web, dir, "a.yaml")
	write(t, strings.Repeat("#", 300), dir, "huge.yaml")
	objects, problems, err := (&Manifests{Path: dir, MaxBytes: 200}).Load()
	if err != nil {
		t.Fatal(err)
	}
	checkLines(t, "objects", []string{servedWeb}, summary(objects))
	checkLines(t, "problems", []string{
		"Manifest " + dir + "/huge.yaml: cannot be read: it is larger than 200 bytes: split it",
	}, texts(problems))
}

func TestLoadSaysWhereJSONIsBroken(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"syntax":    {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}\n\n{\n\"a\": x}", "document 2, line 4: is not JSON: invalid character 'x' looking for beginning of value"},
		"truncated": {"{\n\"a\":\n", "document 1, line 3: is not JSON: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, test.in, dir, "a.json")
			_, problems, err := (&Manifests{Path: dir}).Load()
			if err != nil {
				t.Fatal(err)
			}
			checkLines(t, "problems", []string{"Manifest " + dir + "/a.json: " + test.want}, texts(problems))
		})
	}
}

func TestLoadTakesAFileForEmptyThatNeverHeldAnything(t *testing.T) {
	for name, before := range map[string]string{"empty": "", "comments": "# to be filled\n", "other kinds": "apiVersion: v1\nkind: Pod\n"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, before, dir, "a.yaml")
			m := &Manifests{Path: dir}
			for _, text := range []string{before, "", "", web} {
				write(t, text, dir, "a.yaml")
				objects, problems, err := m.Load()
				if err != nil || len(problems) > 0 {
					t.Fatalf("with %q: %v, %q", text, err, texts(problems))
				}
				if held := len(objects.Services) > 0; held != (text == web) {
					t.Errorf("with %q: %q", text, summary(objects))
				}
			}
		})
	}
}

func TestLoadKeepsWhatIsInAFolderThatCannotBeLookedAt(t *testing.T) {
	dir := t.TempDir()
	write(t, service("a", "10.0.0.1"), dir, "locked", "a.yaml")
	write(t, service("b", "10.0.0.2"), dir, "locked-not", "b.yaml")
	m := &Manifests{Path: dir}
	if _, _, err := m.Load(); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	objects, problems := m.load(listing{unread: map[string]error{locked: os.ErrPermission}})
	checkLines(t, "objects", []string{"Service default/a 10.0.0.1 /80/TCP"}, summary(objects))
	checkLines(t, "problems", []string{"Manifest " + locked + ": cannot be read: permission denied"}, texts(problems))
}
