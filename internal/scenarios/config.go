package scenarios

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/kube-proxier/kube-proxier/proxier/config"
)

const (
	nodeName    = "node1"
	header      = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	clusterCIDR = "clusterCIDR: 10.244.0.0/16,fd00:10:244::/56\n"
)

// readConfig completes the fields of a scenario to a configuration file, and reads
// that. A warning is an error here: something in the scenario would have no effect.
func readConfig(fields string) (file string, _ *config.Config, _ error) {
	var written map[string]any
	if err := yaml.Unmarshal([]byte(fields), &written); err != nil {
		return "", nil, err
	}
	file = header
	_, mode := written["detectLocalMode"]
	_, cidr := written["clusterCIDR"]
	if !mode && !cidr {
		file += clusterCIDR
	}
	file += fields
	c, warnings, err := config.Load([]byte(file), nodeName)
	if err != nil {
		return "", nil, err
	}
	if len(warnings) > 0 {
		texts := make([]string, len(warnings))
		for i, w := range warnings {
			texts[i] = w.String()
		}
		return "", nil, fmt.Errorf("%s", strings.Join(texts, "; "))
	}
	return file, c, nil
}

// standardNode is the Node of scenarios that have none.
func standardNode() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:   nodeName,
			Labels: map[string]string{corev1.LabelTopologyZone: "zone-a"},
		},
		Spec: corev1.NodeSpec{PodCIDRs: []string{"10.244.1.0/24", "fd00:10:244:1::/64"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "172.18.0.11"},
			{Type: corev1.NodeInternalIP, Address: "fd00:172:18::11"},
			{Type: corev1.NodeHostName, Address: nodeName},
		}},
	}
}
