package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"
)

// maxFileSize is far above any real file; one of that size is not a
// configuration.
const maxFileSize = 4 << 20

const (
	kindKubeProxy   = "KubeProxyConfiguration"
	kindKubeProxier = "KubeProxierConfiguration"
)

// groupVersionKubeProxier is that of our own document.
var groupVersionKubeProxier = schema.GroupVersion{Group: "kube-proxier.io", Version: "v1alpha1"} //nolint:gochecknoglobals // a constant

// parseFile reads the documents of a configuration file. The result has no
// defaults yet. Unknown and duplicate fields of KubeProxyConfiguration are
// warnings, as with kube-proxy, so that a file written for another version
// still loads; in our own document they are errors.
func parseFile(file []byte) (documents, error) {
	if len(file) > maxFileSize {
		return documents{}, fmt.Errorf("the file has %d bytes: at most %d are read", len(file), maxFileSize)
	}
	var parsed documents
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(file)))
	for n := 1; ; n++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = parsed.add(document)
		}
		if err != nil {
			return documents{}, fmt.Errorf("document %d: %w", n, err)
		}
	}
	if parsed.kubeProxy == nil {
		return documents{}, fmt.Errorf("there is no document of kind %s, apiVersion %s", kindKubeProxy, proxyconfig.SchemeGroupVersion)
	}
	if parsed.own == nil {
		parsed.own = &ownConfiguration{}
	}
	return parsed, nil
}

// documents are those of one file.
type documents struct {
	kubeProxy *proxyconfig.KubeProxyConfiguration
	own       *ownConfiguration
	warnings  []Warning
}

func (d *documents) add(document []byte) error {
	asJSON, err := yaml.YAMLToJSON(document)
	if err != nil {
		return fmt.Errorf("this is not YAML: %w", err)
	}
	if string(asJSON) == "null" {
		return nil // only comments
	}
	var id runtime.TypeMeta
	if err := yaml.Unmarshal(document, &id); err != nil {
		return fmt.Errorf("apiVersion and kind cannot be read: %w", err)
	}
	switch id {
	case typeMeta(proxyconfig.SchemeGroupVersion, kindKubeProxy):
		if d.kubeProxy != nil {
			return fmt.Errorf("a second document of kind %s: only one is allowed", kindKubeProxy)
		}
		return d.addKubeProxy(document)
	case typeMeta(groupVersionKubeProxier, kindKubeProxier):
		if d.own != nil {
			return fmt.Errorf("a second document of kind %s: only one is allowed", kindKubeProxier)
		}
		d.own, err = parseOwn(document)
		return err
	}
	return fmt.Errorf("apiVersion %.120q, kind %.120q: must be %s %s or %s %s", id.APIVersion, id.Kind,
		proxyconfig.SchemeGroupVersion, kindKubeProxy, groupVersionKubeProxier, kindKubeProxier)
}

func (d *documents) addKubeProxy(document []byte) error {
	scheme := runtime.NewScheme()
	if err := proxyconfig.AddToScheme(scheme); err != nil {
		return err
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	object, _, err := decoder.Decode(document, nil, nil)
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		for _, e := range strict.Errors() {
			d.warnings = append(d.warnings, Warning{Reason: fmt.Sprintf("configuration file: %.200v: it is ignored", e)})
		}
	} else if err != nil {
		return fmt.Errorf("kind %s: %w", kindKubeProxy, err)
	}
	c, ok := object.(*proxyconfig.KubeProxyConfiguration)
	if !ok {
		return fmt.Errorf("kind %s: it cannot be decoded", kindKubeProxy)
	}
	d.kubeProxy = c
	return nil
}

func typeMeta(version schema.GroupVersion, kind string) runtime.TypeMeta {
	return runtime.TypeMeta{APIVersion: version.String(), Kind: kind}
}
