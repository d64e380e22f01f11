package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kube-proxier": main})
}

// Scripts need neither root nor a kernel feature.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/scripts", RequireExplicitExec: true, RequireUniqueNames: true})
}

// Scripts of this folder write to the tables of network namespaces they make.
func TestKernelScripts(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT, testenv.IPTablesLegacy)
	testscript.Run(t, testscript.Params{Dir: "testdata/kernel", RequireExplicitExec: true, RequireUniqueNames: true})
}

// Scripts of this folder make sets, too.
func TestSetScripts(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT, testenv.IPTablesLegacy, testenv.IPSet)
	testscript.Run(t, testscript.Params{Dir: "testdata/sets", RequireExplicitExec: true, RequireUniqueNames: true})
}
