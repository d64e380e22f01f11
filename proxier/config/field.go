package config

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logsapi "k8s.io/component-base/logs/api/v1"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
)

// fields calls yield with every field of the configuration that holds a value
// of its own, under its path in the file, such as "iptables.masqueradeBit".
func fields(c *proxyconfig.KubeProxyConfiguration, yield func(path string, value reflect.Value)) {
	walkFields("", reflect.ValueOf(c).Elem(), yield)
}

func walkFields(prefix string, structure reflect.Value, yield func(string, reflect.Value)) {
	for i := range structure.NumField() {
		field, value := structure.Type().Field(i), structure.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Type == reflect.TypeFor[metav1.TypeMeta]():
		case field.Anonymous && name == "":
			walkFields(prefix, value, yield)
		case field.Type.Kind() == reflect.Struct && !isScalar(field.Type):
			walkFields(prefix+name+".", value, yield)
		default:
			yield(prefix+name, value)
		}
	}
}

// isScalar are structures that are one value in the file.
func isScalar(t reflect.Type) bool {
	return t == reflect.TypeFor[metav1.Duration]() ||
		t == reflect.TypeFor[logsapi.TimeOrMetaDuration]() ||
		t == reflect.TypeFor[resource.QuantityValue]()
}

// isSet reports whether a field holds something: an explicit zero is the same
// as nothing, except behind a pointer.
func isSet(value reflect.Value) bool {
	switch v := value.Interface().(type) {
	case resource.QuantityValue:
		return !v.IsZero()
	case logsapi.TimeOrMetaDuration:
		return v.Duration.Duration != 0
	}
	if k := value.Kind(); k == reflect.Slice || k == reflect.Map {
		return value.Len() > 0
	}
	return !value.IsZero()
}

// writtenFields are the fields that hold something before defaults are set, and
// not the default: a file with all defaults written out asks for nothing.
func writtenFields(c *proxyconfig.KubeProxyConfiguration) map[string]bool {
	written, defaults := map[string]bool{}, map[string]any{}
	fields(defaultConfiguration(), func(path string, value reflect.Value) { defaults[path] = value.Interface() })
	fields(c, func(path string, value reflect.Value) {
		if isSet(value) && !equality.Semantic.DeepEqual(value.Interface(), defaults[path]) {
			written[path] = true
		}
	})
	return written
}
