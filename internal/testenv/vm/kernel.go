package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// kernelPackage is the Debian package that depends on the current kernel.
const kernelPackage = "linux-image-amd64"

// Kernel is an unpacked kernel package. Nothing of it is installed.
type Kernel struct {
	// Version is as in uname -r, e.g. "6.1.0-56-amd64".
	Version string
	dir     string
}

// image is the kernel itself.
func (k Kernel) image() string { return filepath.Join(k.dir, "boot", "vmlinuz-"+k.Version) }

// modules is the folder that is /lib/modules where this kernel runs.
func (k Kernel) modules() string { return filepath.Join(k.dir, "lib", "modules") }

// Prepare returns the kernel of the cache, kube-proxier/vm-VERSION in the user's
// cache folder. If there is none it downloads Debian's current one (70 MB, and 400
// MB unpacked), which takes an apt-get but no root unless the package lists are
// too old. What it does goes to log, a line each.
func Prepare(ctx context.Context, log io.Writer) (Kernel, error) {
	if runtime.GOARCH != "amd64" {
		return Kernel{}, fmt.Errorf("virtual machine: made for amd64, this is %s", runtime.GOARCH)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel of the virtual machine: %w", err)
	}
	cache = filepath.Join(cache, "kube-proxier")
	if kernel, ok := cached(cache); ok {
		return kernel, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Kernel{}, fmt.Errorf("kernel of the virtual machine: %w", err)
	}
	kernel, err := download(ctx, cache, log)
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel of the virtual machine: %w", err)
	}
	return kernel, nil
}

// cached finds a kernel in the cache. A folder is there with all its files or not
// at all.
func cached(cache string) (Kernel, bool) {
	dirs, err := filepath.Glob(filepath.Join(cache, "vm-*"))
	if err != nil || len(dirs) == 0 {
		return Kernel{}, false
	}
	dir := dirs[len(dirs)-1]
	return Kernel{Version: strings.TrimPrefix(filepath.Base(dir), "vm-"), dir: dir}, true
}

func download(ctx context.Context, cache string, log io.Writer) (Kernel, error) {
	tmp, err := os.MkdirTemp(cache, ".download-*")
	if err != nil {
		return Kernel{}, err
	}
	defer os.RemoveAll(tmp)
	file, err := downloadPackage(ctx, tmp, log)
	if err != nil {
		return Kernel{}, err
	}
	root := filepath.Join(tmp, "root")
	if _, err := command(ctx, tmp, "dpkg", "-x", file, root); err != nil {
		return Kernel{}, err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return Kernel{}, err
	}
	version, err := normalize(root)
	if err != nil {
		return Kernel{}, err
	}
	if _, err := command(ctx, tmp, "depmod", "-b", root, version); err != nil {
		return Kernel{}, err
	}
	dir := filepath.Join(cache, "vm-"+version)
	if err := os.Rename(root, dir); err != nil {
		// Another process may have been faster.
		if kernel, ok := cached(cache); ok {
			return kernel, nil
		}
		return Kernel{}, err
	}
	return Kernel{Version: version, dir: dir}, nil
}

// downloadPackage returns the path of the package file, in dir.
func downloadPackage(ctx context.Context, dir string, log io.Writer) (string, error) {
	fetch := func() error {
		name, err := currentKernel(ctx, dir)
		if err != nil {
			return err
		}
		fmt.Fprintf(log, "vm: downloading %s (70 MB, once)\n", name)
		_, err = command(ctx, dir, "apt-get", "download", "-qq", name)
		return err
	}
	if err := fetch(); err != nil {
		fmt.Fprintf(log, "vm: %v: updating the package lists\n", err)
		if _, updateErr := command(ctx, dir, "apt-get", "update", "-qq"); updateErr != nil {
			return "", errors.Join(err, updateErr)
		}
		if err := fetch(); err != nil {
			return "", err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("apt-get download left the files %q, want one package", files)
	}
	return files[0], nil
}

// currentKernel asks which package kernelPackage stands for.
func currentKernel(ctx context.Context, dir string) (string, error) {
	output, err := command(ctx, dir, "apt-cache", "depends", kernelPackage)
	if err != nil {
		return "", err
	}
	return dependency(output)
}

// dependency finds the kernel in the output of apt-cache depends.
func dependency(output string) (string, error) {
	match := regexp.MustCompile(`Depends: (linux-image-\S+)`).FindStringSubmatch(output)
	if match == nil {
		return "", fmt.Errorf("%s depends on no linux-image-*: %q", kernelPackage, output)
	}
	return match[1], nil
}

// normalize returns the version of an unpacked kernel. It moves modules to where
// they were before /lib was a link to /usr/lib: there depmod -b looks.
func normalize(root string) (string, error) {
	lib := filepath.Join(root, "lib")
	if _, err := os.Stat(lib); errors.Is(err, os.ErrNotExist) {
		if err := os.Rename(filepath.Join(root, "usr", "lib"), lib); err != nil {
			return "", err
		}
	}
	versions, err := filepath.Glob(filepath.Join(lib, "modules", "*"))
	if err != nil {
		return "", err
	}
	if len(versions) != 1 {
		return "", fmt.Errorf("the package has modules for the kernels %q, want one", versions)
	}
	return filepath.Base(versions[0]), nil
}

// command runs a tool in dir and returns its output; errors have all it said.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, &said
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()+string(output)))
	}
	return string(output), nil
}
