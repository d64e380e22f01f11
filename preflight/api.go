package preflight

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// maxSkew is how far clocks may be apart without a word: tokens and
// certificates are good for longer, and beginnings are checked to the second.
const maxSkew = 30 * time.Second

// api is about the API server. Nothing of it is fatal but a client that cannot
// be made: a server that does not answer now may do so in a minute.
func (j *judge) api(f Facts) {
	if f.API == nil || f.Config == nil {
		return
	}
	const subject = "API server"
	a := f.API
	if a.ClientErr != nil {
		j.add(Fatal, subject, a.ClientErr.Error(), "there is nowhere to get Services from",
			"name a file that this process may read with clientConnection.kubeconfig (--kubeconfig), or run it as a pod with a service account")
		return
	}
	if a.Err != nil {
		j.unanswered(*a)
	} else {
		j.ok(subject, a.Server+" answers")
	}
	j.byService(*a)
	for _, d := range a.Denied {
		why := "nothing is changed before all objects are there"
		if d.Read == source.ListNodes {
			why = "the daemon waits 90s, and goes on without the node's addresses and zone"
		}
		j.add(Warning, subject, fmt.Sprintf("%s: %v", d.Read, d.Err), why,
			"bind the user to the ClusterRole system:node-proxier, or to one that may list and watch services, nodes and endpointslices")
	}
	if a.NodeMissing {
		j.add(Warning, subject, fmt.Sprintf("there is no Node object named %s", f.Config.NodeName),
			"the daemon waits 30s for it, and goes on without its addresses and zone; with a wrong name no endpoint is this node's, and Services with policy Local drop packets",
			"give the name that kubectl get nodes shows with --hostname-override, or wait for the kubelet to register the node")
	}
	if a.NodeUnaddressed {
		j.add(Warning, subject, fmt.Sprintf("the Node object %s has no address", f.Config.NodeName),
			"the daemon waits 30s for one at its start, and goes on without: until there is one, nodePortAddresses: [primary] leaves out loopback addresses only",
			"see why the kubelet or the cloud controller reports none")
	}
	if a.Ahead > maxSkew || a.Ahead < -maxSkew {
		direction, apart := "ahead of", a.Ahead
		if apart < 0 {
			direction, apart = "behind", -apart
		}
		j.add(Warning, "clock", fmt.Sprintf("the clock of %s is %s %s this host's", a.Server, apart.Round(time.Second), direction),
			"certificates and tokens seem expired, or not yet valid, and times in logs and metrics are wrong", "let the hosts' clocks be set by NTP: timedatectl")
	}
}

// byService is about a server that is reached by its Service. That works for as long
// as somebody serves it: the Service proxy before, whose rules a start of the node
// takes away.
func (j *judge) byService(a API) {
	addresses := a.ServiceIPs
	if len(addresses) == 0 {
		addresses = []string{a.PodsServer} // nobody knows better
	}
	server := serverAddress(a.Server)
	if !server.IsValid() || !slices.ContainsFunc(addresses, func(text string) bool { return parseAddress(text) == server }) {
		return
	}
	j.add(Warning, "API server", fmt.Sprintf("%s is the address of the Service kubernetes", server),
		"after a start of the node nobody serves it before the objects have come, which come from there: no Service is served then",
		"let the kubeconfig, --master or the chart's apiServer name the API server itself: kubectl -n default get endpointslices -l kubernetes.io/service-name=kubernetes")
}

// serverAddress is the host of a URL, where that is an address; the scheme may be
// missing.
func serverAddress(server string) netip.Addr {
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	u, err := url.Parse(server)
	if err != nil {
		return netip.Addr{}
	}
	return parseAddress(u.Hostname())
}

// parseAddress returns none for what is no address.
func parseAddress(text string) netip.Addr {
	address, _ := netip.ParseAddr(text)
	return address.Unmap()
}

func (j *judge) unanswered(a API) {
	const subject = "API server"
	why, do := "nothing is changed before the objects have come; what is in force stays in force", "is the address right, and the network there?"
	switch {
	case apierrors.IsUnauthorized(a.Err):
		do = "the token or certificate is wrong or has expired: renew the kubeconfig, or look whether the service account still exists"
	case apierrors.IsForbidden(a.Err):
		do = "bind the user to the ClusterRole system:node-proxier"
	case apierrors.IsTooManyRequests(a.Err):
		why, do = "it is overloaded, and asked again later", "look at its priority and fairness metrics"
	}
	j.add(Warning, subject, fmt.Sprintf("%s does not answer as it should: %v", a.Server, a.Err), why, do)
}
