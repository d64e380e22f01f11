package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/render"
)

// A pod runs the containers of a DaemonSet on node1 as a kubelet and a container
// runtime would, as far as this program could notice: arguments, environment,
// user, capabilities, volumes, a root file system that cannot be written, and
// /proc/sys read-only unless privileged. There is no seccomp filter.
type pod struct {
	stage  *stage
	spec   corev1.PodSpec
	dir    string // what is mounted is below
	source map[string]string
	config map[string]map[string]string // ConfigMaps by name
}

// serverOfManifests stands for the API server's address in all render. It
// is replaced, as is the example of the pods' addresses.
const serverOfManifests = "https://api-server.invalid:6443"

// newPod makes the pod's volumes, with the token of its service account.
func (s *stage) newPod(set *appsv1.DaemonSet, configMaps map[string]map[string]string) *pod {
	s.t.Helper()
	p := &pod{stage: s, spec: set.Spec.Template.Spec, dir: s.t.TempDir(), source: map[string]string{}, config: configMaps}
	for _, volume := range p.spec.Volumes {
		p.source[volume.Name] = p.volume(volume)
	}
	kubeconfig, err := clientcmd.LoadFromFile(s.kubeconfig)
	if err != nil {
		s.t.Fatal(err)
	}
	cluster := kubeconfig.Clusters["test"]
	for _, data := range p.config {
		for file, text := range data {
			data[file] = strings.NewReplacer(serverOfManifests, cluster.Server, "clusterCIDR: 10.244.0.0/16\n", "clusterCIDR: "+clusterCIDR+"\n").Replace(text)
		}
	}
	for name, data := range p.config {
		p.write(name, data)
	}
	token, err := shared.client.CoreV1().ServiceAccounts(render.Namespace).CreateToken(
		s.t.Context(), p.spec.ServiceAccountName, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	p.write("secrets", map[string]string{"token": token.Status.Token, "ca.crt": string(cluster.CertificateAuthorityData)})
	p.program()
	return p
}

// volume is the folder or file that a volume's mounts show.
func (p *pod) volume(v corev1.Volume) string {
	p.stage.t.Helper()
	switch {
	case v.ConfigMap != nil:
		if p.config[v.ConfigMap.Name] == nil {
			p.stage.t.Fatalf("volume %s: there is no ConfigMap %s", v.Name, v.ConfigMap.Name)
		}
		return filepath.Join(p.dir, v.ConfigMap.Name)
	case v.HostPath != nil && v.HostPath.Path == "/run/xtables.lock" && *v.HostPath.Type == corev1.HostPathFileOrCreate:
		p.write("run", map[string]string{"xtables.lock": ""})
		return filepath.Join(p.dir, "run/xtables.lock")
	case v.HostPath != nil && v.HostPath.Path == "/lib/modules":
		p.write("modules", nil)
		return filepath.Join(p.dir, "modules")
	}
	p.stage.t.Fatalf("volume %s: no node of this test has that", v.Name)
	return ""
}

// write makes a folder with these files.
func (p *pod) write(folder string, files map[string]string) {
	p.stage.t.Helper()
	folder = filepath.Join(p.dir, folder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		p.stage.t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			p.stage.t.Fatal(err)
		}
	}
}

// program is /usr/local/bin of the image.
func (p *pod) program() {
	p.stage.t.Helper()
	bin := filepath.Join(p.dir, "bin")
	p.write("bin", map[string]string{"kube-proxier": ""})
	if err := os.Remove(filepath.Join(bin, "kube-proxier")); err != nil {
		p.stage.t.Fatal(err)
	}
	if err := os.Link(shared.program, filepath.Join(bin, "kube-proxier")); err != nil {
		p.stage.t.Fatal(err)
	}
	if err := os.Symlink("kube-proxier", filepath.Join(bin, "kube-proxy")); err != nil {
		p.stage.t.Fatal(err)
	}
}

// containerScript sets up a mount namespace and starts the program in it. Its
// arguments are the folder of the pod and the program's; $mounts are the volumes.
const containerScript = `set -e
mount --make-rprivate /
mount --bind "$pod" /mnt && pod=/mnt
for folder in /var/lib /run /usr/local/bin; do mount -t tmpfs tmpfs $folder; done
put() {
	if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "${2%/*}" && : > "$2"; fi
	mount --bind "$1" "$2"
	[ "$3" = rw ] || mount -o remount,bind,ro "$2"
}
cp -P $pod/bin/* /usr/local/bin
put $pod/secrets /run/secrets/kubernetes.io/serviceaccount ro
eval "$mounts"
for folder in /var/lib /run /usr/local/bin; do mount -o remount,bind,ro $folder; done
if [ -n "$readonly" ]; then mount --bind / / && mount -o remount,bind,ro /; fi
if [ -z "$privileged" ]; then mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys; fi
exec "$@"
`

// start runs one container.
func (p *pod) start(c corev1.Container) *daemon {
	s := p.stage
	s.t.Helper()
	var mounts strings.Builder
	for _, m := range c.VolumeMounts {
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		source, below := strings.CutPrefix(p.source[m.Name], p.dir)
		if !below {
			s.t.Fatalf("container %s mounts %s, which is no volume", c.Name, m.Name)
		}
		fmt.Fprintf(&mounts, "put $pod%s %s %s\n", source, m.MountPath, mode)
	}
	security := c.SecurityContext
	settings := map[string]string{
		"pod": p.dir, "mounts": mounts.String(), "readonly": isSet(security.ReadOnlyRootFilesystem), "privileged": isSet(security.Privileged),
	}
	args := []string{"-m", "env"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, name+"="+settings[name])
	}
	args = append(args, "sh", "-c", containerScript, "sh", "env")
	expand := strings.NewReplacer()
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			args = append(args, e.Name+"="+e.Value)
			continue
		}
		if e.ValueFrom.FieldRef.FieldPath != "spec.nodeName" {
			s.t.Fatalf("container %s: variable %s: no node of this test can say that", c.Name, e.Name)
		}
		args = append(args, e.Name+"="+s.nodeName)
		expand = strings.NewReplacer("$("+e.Name+")", s.nodeName)
	}
	args = append(args, testenv.Privileges(security)...)
	command := c.Command
	if len(command) == 0 {
		command = []string{"/usr/local/bin/kube-proxier"} // the image's entry point
	}
	for _, arg := range append(command, c.Args...) {
		args = append(args, expand.Replace(arg))
	}
	return s.startProgram("unshare", args...)
}

func isSet(set *bool) string {
	if set != nil && *set {
		return "yes"
	}
	return ""
}

// run runs all init containers to their end, then the only other one.
func (p *pod) run() *daemon {
	p.stage.t.Helper()
	p.runInit()
	return p.runMain()
}

// runInit runs the init containers, one after the other.
func (p *pod) runInit() {
	p.stage.t.Helper()
	for _, c := range p.spec.InitContainers {
		d := p.start(c)
		<-d.ended
		if d.err != nil {
			p.stage.t.Fatalf("init container %s: %v", c.Name, d.err)
		}
	}
}

// runMain starts the other container.
func (p *pod) runMain() *daemon {
	t := p.stage.t
	t.Helper()
	if len(p.spec.Containers) != 1 {
		t.Fatalf("%d containers, want 1", len(p.spec.Containers))
	}
	return p.start(p.spec.Containers[0])
}
