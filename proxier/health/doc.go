// Package health tells others how the node's Service proxy is doing: the
// kubelet and load balancers by status codes on /healthz, /livez and the health
// check node ports of Services, people by the page /status. It owns all of these
// servers, and the judgement from which the codes follow: a family whose work
// has been waiting for too long, because passes fail, hang or are not made, is
// unhealthy until a pass succeeds. docs/health.md has the bodies and codes.
package health
