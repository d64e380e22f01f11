package source

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// maxProblems bounds what is reported of one file.
const maxProblems = 100

// content is what one file holds.
type content struct {
	items []item
	// nodes are the names of the Nodes that are not this one.
	nodes    []string
	skipped  map[string]int
	problems []proxier.Problem
	// more counts the problems beyond maxProblems.
	more int
}

// An item is an object that is served, and where it stands.
type item struct {
	kind   string
	object metav1.Object
	where  string
}

// decode reads one file. It never fails: what cannot be used is in the
// problems.
func decode(file string, data []byte, nodeName string) *content {
	c := &content{skipped: map[string]int{}}
	d := decoder{content: c, nodeName: nodeName}
	docs, errs := documents(file, data)
	for _, e := range errs {
		c.add(proxier.Problem{Kind: "Manifest", Name: e.file, Field: e.inFile(), Reason: e.reason})
	}
	for _, doc := range docs {
		d.read(doc.place, "", doc.json, typeMeta{})
	}
	if c.more > 0 {
		c.problems = append(c.problems, proxier.Problem{
			Kind: "Manifest", Name: file, Reason: fmt.Sprintf("has %d more problems", c.more),
		})
	}
	return c
}

func (c *content) add(p proxier.Problem) {
	if len(c.problems) >= maxProblems {
		c.more++
		return
	}
	c.problems = append(c.problems, p)
}

type decoder struct {
	*content
	nodeName string
}

type typeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// header is what tells how to read the rest of an object.
type header struct {
	typeMeta `json:",inline"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

// read reads an object or a list. path is where it stands in the document;
// implied is the type of a list's items, which the items need not repeat.
func (d *decoder) read(at place, path string, raw []byte, implied typeMeta) {
	var h header
	err := utiljson.Unmarshal(raw, &h.typeMeta)
	if err == nil && strings.HasSuffix(h.Kind, "List") && path == "" {
		d.list(at, raw, h.typeMeta)
		return
	}
	if err == nil && h.Kind == "List" {
		d.manifestProblem(at, path, "is a list within a list: it is left out")
		return
	}
	if err == nil {
		err = utiljson.Unmarshal(raw, &h)
	}
	if err != nil {
		field, reason := typeError(err)
		d.manifestProblem(at, join(path, field), reason+": the object is left out")
		return
	}
	if h.APIVersion == "" {
		h.APIVersion = implied.APIVersion
	}
	if h.Kind == "" {
		h.Kind = implied.Kind
	}
	d.object(at, path, raw, h)
}

// list reads the items of a v1 List, as kubectl prints it, or of a typed list
// such as ServiceList.
func (d *decoder) list(at place, raw []byte, list typeMeta) {
	implied := typeMeta{}
	if kind := strings.TrimSuffix(list.Kind, "List"); kind != "" {
		implied = typeMeta{list.APIVersion, kind}
		if _, used := versionOf(implied); !used {
			d.skip(list)
			return
		}
	}
	var items struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := utiljson.Unmarshal(raw, &items); err != nil {
		field, reason := typeError(err)
		d.manifestProblem(at, field, reason)
		return
	}
	for i, each := range items.Items {
		d.read(at, fmt.Sprintf("items[%d]", i), each, implied)
	}
}

// versionOf is the version of the API that a kind is read in; used is false
// for kinds, and for other groups' kinds of the same name, that a proxy does
// not read.
func versionOf(t typeMeta) (version string, used bool) {
	group, _, found := strings.Cut(t.APIVersion, "/")
	if !found {
		group = ""
	}
	switch {
	case group == corev1.GroupName && (t.Kind == "Service" || t.Kind == "Node"):
		return "v1", true
	case group == discoveryv1.GroupName && t.Kind == "EndpointSlice":
		return discoveryv1.SchemeGroupVersion.String(), true
	}
	return "", false
}

// skip counts an object of another kind, under a name that is safe to print.
func (d *decoder) skip(t typeMeta) {
	name := t.APIVersion + " " + t.Kind
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		name = quoted
	}
	d.skipped[name]++
}

// object reads an object of a kind that is used.
func (d *decoder) object(at place, path string, raw []byte, h header) {
	if h.Kind == "" || h.APIVersion == "" {
		field := "kind"
		if h.Kind != "" {
			field = "apiVersion"
		}
		d.manifestProblem(at, join(path, field), "is missing: the object is left out")
		return
	}
	version, used := versionOf(h.typeMeta)
	if !used {
		d.skip(h.typeMeta)
		return
	}
	c := checker{content: d.content, path: path, object: proxier.Problem{Kind: h.Kind, Name: h.Metadata.Name, Where: at.String()}}
	if namespaced := h.Kind == "Service" || h.Kind == "EndpointSlice"; namespaced {
		c.object.Namespace = cmp.Or(h.Metadata.Namespace, metav1.NamespaceDefault)
	}
	if h.APIVersion != version {
		c.problem("apiVersion", h.APIVersion, "must be %s: the object is left out", version)
		return
	}
	switch h.Kind {
	case "Service":
		c.service(raw)
	case "EndpointSlice":
		c.endpointSlice(raw)
	case "Node":
		if d.nodeName != "" && h.Metadata.Name != d.nodeName {
			d.nodes = append(d.nodes, h.Metadata.Name)
		}
		c.node(raw)
	}
}

// manifestProblem reports text that is not known to be any object.
func (d *decoder) manifestProblem(at place, field, reason string) {
	where := at.inFile()
	if field != "" {
		where += ", " + field
	}
	d.add(proxier.Problem{Kind: "Manifest", Name: at.file, Field: where, Reason: reason})
}

// typeError says what a value should have been, and in which field.
func typeError(err error) (field, reason string) {
	if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
		return e.Field, fmt.Sprintf("must be %s, is %s", typeName(e.Type), e.Value)
	}
	return "", strings.TrimPrefix(err.Error(), "json: ")
}

// typeName is a type in the words of a manifest.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	default:
		return t.Kind().String()
	}
}

// join joins parts of a field's path.
func join(path, field string) string {
	if path == "" || field == "" {
		return path + field
	}
	return path + "." + field
}
