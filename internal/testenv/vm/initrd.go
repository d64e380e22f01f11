package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm/wire"
)

// rootModules are what the guest needs before it can see the host's files: the
// port it speaks through, 9p, and the writable layer over it.
func rootModules() []string {
	return []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}
}

// writeInitrd writes the initial file system: the guest program, the job, and the
// modules that lead to the host's files. It completes job.
func writeInitrd(ctx context.Context, file string, kernel Kernel, guest string, job wire.Job) error {
	modules, err := kernel.withDependencies(ctx, rootModules())
	if err != nil {
		return err
	}
	for _, module := range modules {
		job.Insert = append(job.Insert, strings.TrimSuffix(filepath.Base(module), ".xz"))
	}
	text, err := json.Marshal(job)
	if err != nil {
		return err
	}
	var archive cpio
	archive.add(wire.ModuleDir, directoryMode, nil)
	for i, module := range modules {
		image, err := readModule(ctx, module)
		if err != nil {
			return err
		}
		archive.add(path.Join(wire.ModuleDir, job.Insert[i]), fileMode, image)
	}
	program, err := os.ReadFile(guest)
	if err != nil {
		return err
	}
	archive.add("/init", programMode, program)
	archive.add(wire.JobFile, fileMode, text)
	return os.WriteFile(file, archive.close(), 0o600)
}

// withDependencies returns the files of the modules and of those they depend on,
// each once and after its own dependencies. Modules built into the kernel have none.
func (k Kernel) withDependencies(ctx context.Context, modules []string) ([]string, error) {
	var files []string
	seen := map[string]bool{}
	for _, module := range modules {
		output, err := command(ctx, k.dir, "modprobe", "-d", k.dir, "-S", k.Version, "--show-depends", module)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(output) {
			verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			file, _, _ := strings.Cut(rest, " ") // parameters follow
			if verb == "insmod" && !seen[file] {
				seen[file] = true
				files = append(files, file)
			}
		}
	}
	return files, nil
}

// readModule reads a module's file, which Debian compresses since version 13.
func readModule(ctx context.Context, file string) ([]byte, error) {
	if filepath.Ext(file) == ".xz" {
		image, err := command(ctx, filepath.Dir(file), "xz", "-dc", file)
		return []byte(image), err
	}
	return os.ReadFile(file)
}

// Modes of files in a cpio archive: the type and the permissions of stat(2).
const (
	directoryMode = 0o040755
	programMode   = 0o100755
	fileMode      = 0o100644
)

// cpio is an archive in the only format that the kernel unpacks, "newc"
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	bytes []byte
	files int
}

// add appends a file. Its folder must have been added before.
func (c *cpio) add(name string, mode int, content []byte) {
	c.files++
	name = strings.TrimPrefix(name, "/")
	c.bytes = fmt.Appendf(c.bytes, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.files, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	c.pad()
	c.bytes = append(c.bytes, content...)
	c.pad()
}

// pad fills up to a multiple of four bytes.
func (c *cpio) pad() {
	for len(c.bytes)%4 != 0 {
		c.bytes = append(c.bytes, 0)
	}
}

// close ends the archive and returns it.
func (c *cpio) close() []byte {
	c.add("TRAILER!!!", 0, nil)
	return c.bytes
}
