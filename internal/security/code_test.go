package security

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayRun are the only files of the program that run other programs.
var mayRun = []string{"iptables/findtool_linux.go", "iptables/restore_linux.go", "iptables/tool_linux.go"}

// mayBeUnsafe are the only files that import unsafe: for socket options of the kernel
// that no library reads.
var mayBeUnsafe = []string{"iptables/legacytable/socket_linux.go"}

// sourceFiles are those that the program is made of, by path.
func sourceFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	root := os.DirFS("../..")
	files := map[string]*ast.File{}
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (slices.Contains([]string{"internal", "tools", "testdata", "bin"}, entry.Name()) || strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", path), nil, 0)
		files[path] = file
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("%d files were found, want at least 100", len(files))
	}
	return files
}

func imports(file *ast.File, path string) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(path) })
}

// Programs are run in one place, and none of them is a shell.
func TestProgramsAreRunInOnePlace(t *testing.T) {
	seen := 0
	for path, file := range sourceFiles(t) {
		if !imports(file, "os/exec") {
			continue
		}
		seen++
		if !slices.Contains(mayRun, path) {
			t.Errorf("%s imports os/exec: only %v may run programs", path, mayRun)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			text, ok := n.(*ast.BasicLit)
			if ok && slices.Contains([]string{`"sh"`, `"bash"`, `"/bin/sh"`, `"-c"`}, text.Value) {
				t.Errorf("%s has the word %s", path, text.Value)
			}
			return true
		})
	}
	if seen != len(mayRun) {
		t.Errorf("%d files import os/exec, want %d", seen, len(mayRun))
	}
}

// Nor are there other ways to run one, or ways around Go's memory safety but those
// that are known.
func TestNoOtherWayToRunAProgram(t *testing.T) {
	forbidden := map[string][]string{
		"os":      {"StartProcess"},
		"syscall": {"Exec", "ForkExec", "StartProcess"},
		"unix":    {"Exec"},
	}
	for path, file := range sourceFiles(t) {
		for _, p := range []string{"unsafe", "plugin", "C"} {
			if imports(file, p) && (p != "unsafe" || !slices.Contains(mayBeUnsafe, path)) {
				t.Errorf("%s imports %s", path, p)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := selector.X.(*ast.Ident)
			if ok && slices.Contains(forbidden[pkg.Name], selector.Sel.Name) {
				t.Errorf("%s calls %s.%s", path, pkg.Name, selector.Sel.Name)
			}
			return true
		})
	}
}
