// Command sbom writes what a Go program is made of as CycloneDX JSON: the modules
// that the linker has put into it, as the program itself says. The same program
// gives the same bytes.
//
//	sbom NAME VERSION PROGRAM
package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: sbom NAME VERSION PROGRAM")
		os.Exit(2)
	}
	bom, err := describe(os.Args[1], os.Args[2], os.Args[3])
	if err == nil {
		err = cyclonedx.NewBOMEncoder(os.Stdout, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func describe(name, version, program string) (*cyclonedx.BOM, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	url := "pkg:golang/" + info.Main.Path + "@" + version
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{
		Type: cyclonedx.ComponentTypeApplication, BOMRef: url, Name: name, Version: version, PackageURL: url,
		Properties: settings(info.Settings),
	}}
	standard := strings.TrimPrefix(info.GoVersion, "go")
	components := []cyclonedx.Component{library("std", "v"+standard, "")}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		components = append(components, library(module.Path, module.Version, module.Sum))
	}
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: url, Dependencies: &refs}}
	return bom, nil
}

// library is a module. Its sum is that of go.sum, which is no hash of one file,
// and so no hash in the sense of CycloneDX.
func library(path, version, sum string) cyclonedx.Component {
	url := "pkg:golang/" + path + "@" + version
	c := cyclonedx.Component{Type: cyclonedx.ComponentTypeLibrary, BOMRef: url, Name: path, Version: version, PackageURL: url}
	if sum != "" {
		c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}

// settings are how it was built.
func settings(all []debug.BuildSetting) *[]cyclonedx.Property {
	var properties []cyclonedx.Property
	for _, s := range all {
		properties = append(properties, cyclonedx.Property{Name: "go:build:" + s.Key, Value: s.Value})
	}
	return &properties
}
