// Package config turns what the operator wrote, flags or a file, into a
// validated Config.
//
//	flags ──────────────┐
//	                    ├─► KubeProxyConfiguration ─► defaults ─► validate ─► Config
//	--config FILE ──────┘        (what was written)                │
//	                                                    all errors in one list
//
// Both kube-proxy's configuration file (KubeProxyConfiguration,
// kubeproxy.config.k8s.io/v1alpha1) and its flags are read unchanged, so that
// an existing DaemonSet and ConfigMap serve as they are. With --config the
// file replaces the flags; Flags.Load says which flags that leaves without
// effect.
//
// Nothing is ignored silently. A field is either read into the Config, or it
// stands in the table of effect.go with the reason why it changes nothing, and
// whoever writes it is told so. A test walks the API type by reflection and
// fails for a field that is neither.
//
// What is kube-proxier's alone goes into a second YAML document of the same
// file, of kind KubeProxierConfiguration.
//
// The package reads one file and otherwise touches nothing: what is in force
// on the node is for others to compare with the Config.
package config
