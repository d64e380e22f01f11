package testenv

// Configuration is kube-proxy's default one, with the pods' ranges of a Cluster.
const Configuration = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 10.244.0.0/16,fd00:10:244::/56
`

// Node1Manifest is the object of a Cluster's node1, as the first of several YAML
// documents.
const Node1Manifest = `apiVersion: v1
kind: Node
metadata: {name: node1}
spec: {podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]}
status:
  addresses:
  - {type: InternalIP, address: 172.18.0.11}
  - {type: InternalIP, address: "fd00:172:18::11"}
---
`
