// Package metrics owns everything Prometheus: which metrics there are, how the
// reports of passes become numbers, and the server that hands them out. It is
// the only code that knows Prometheus.
//
// Names are kube-proxy's where the meaning is the same, so that its dashboards
// and alerts work; what kube-proxy has not begins with kubeproxier_.
// docs/metrics.md lists all of them, and a test compares it with what is served.
package metrics
