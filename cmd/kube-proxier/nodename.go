package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// nameNode gives the manifests the name of the only Node in them, if there is
// just one. Whatever cannot be read is for the manifests to report.
func nameNode(m *source.Manifests) error {
	names := map[string]bool{}
	if m.Path == source.Stdin {
		data, err := io.ReadAll(io.LimitReader(m.In, source.DefaultMaxBytes+1))
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		m.In = bytes.NewReader(data)
		nodeNames(data, names)
	} else if err := filepath.WalkDir(m.Path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path != m.Path && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			return nil //nolint:nilerr // reported when the manifests are read
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() <= source.DefaultMaxBytes {
			if data, err := os.ReadFile(path); err == nil {
				nodeNames(data, names)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if len(names) == 1 {
		for name := range names {
			m.NodeName = name
		}
	}
	return nil
}

// hasNode tells at little cost whether parsing can find a Node.
var hasNode = regexp.MustCompile(`kind"?'?\s*:\s*["']?Node(List)?["']?([\s,}]|$)`)

// object is as much of an object, or of a list of objects, as is needed.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Items []object `json:"items"`
}

// nodeNames adds the names of the Nodes in data.
func nodeNames(data []byte, names map[string]bool) {
	if !hasNode.Match(data) {
		return
	}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return
		}
		var syntax utilyaml.YAMLSyntaxError
		if err != nil && !errors.As(err, &syntax) {
			return // JSON cannot be taken up again after an error
		}
		for _, item := range append(o.Items, o) {
			if (item.Kind == "Node" || o.Kind == "NodeList" && item.Kind == "") && item.Metadata.Name != "" {
				names[item.Metadata.Name] = true
			}
		}
	}
}
