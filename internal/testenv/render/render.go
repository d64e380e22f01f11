// Package render renders what deploy/ offers the way its users do, with
// kustomize and with helm, which tools/render pins. It owns nothing but that:
// what the objects are good for is tested where they are used.
package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// kubeVersion is what helm takes the cluster for.
const kubeVersion = testenv.KubeVersion

// Namespace is where everything that has a namespace is put.
const Namespace = "kube-system"

// Kustomize renders a folder below deploy, such as "kustomize/base".
func Kustomize(t testenv.TB, folder string) []*unstructured.Unstructured {
	t.Helper()
	return Parse(t, tool(t, "kustomize", "build", filepath.Join(deploy(), folder)))
}

// Helm renders the chart as the release kube-proxier, with arguments such as
// --set=mode=ipvs.
func Helm(t testenv.TB, args ...string) []*unstructured.Unstructured {
	t.Helper()
	text, err := HelmOutput(t, args...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return Parse(t, text)
}

// HelmOutput is Helm for values that the chart may refuse.
func HelmOutput(t testenv.TB, args ...string) ([]byte, error) {
	t.Helper()
	return run(t, "helm", append([]string{
		"template", "kube-proxier", filepath.Join(deploy(), "helm/kube-proxier"),
		"--namespace=" + Namespace, "--kube-version=" + kubeVersion,
	}, args...)...)
}

// Patch is a patch of deploy, such as "kubeadm/take-over.yaml", as kubectl patch
// --patch-file sends it: strategic merge, in JSON.
func Patch(t testenv.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy(), file))
	if err != nil {
		t.Fatalf("%v", err)
	}
	patch, err := yaml.ToJSON(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return patch
}

// Parse reads the YAML documents of a text.
func Parse(t testenv.TB, text []byte) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
		if object.Object != nil {
			all = append(all, object)
		}
	}
	if len(all) == 0 {
		t.Fatalf("nothing is rendered")
	}
	return all
}

// deploy is the folder deploy of these sources.
func deploy() string { return filepath.Join(root(), "deploy") }

func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../..")
}

func tool(t testenv.TB, name string, args ...string) []byte {
	t.Helper()
	text, err := run(t, name, args...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return text
}

func run(t testenv.TB, name string, args ...string) ([]byte, error) {
	modules := "-modfile=" + filepath.Join(root(), "tools/render/go.mod")
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", modules, name}, args...)...)
	var out, problems bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = root(), &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, problems.Bytes())
	}
	return out.Bytes(), nil
}
