package source

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// An Answer is how it goes with the API server, for people to read.
type Answer struct {
	// Err is why it does not answer, or what is wrong with its answer; nil when
	// it does answer.
	Err error
	// Denied are the reads that fail.
	Denied []Denial
	// NodeMissing tells that there is no Node object of this node's name.
	NodeMissing bool
	// NodeUnaddressed tells that there is one, without an address.
	NodeUnaddressed bool
	// ServiceIPs are the addresses of the Service by which pods reach the API server.
	ServiceIPs []string
}

// A Denial is a read that the API server does not answer, such as "list
// services".
type Denial struct {
	Read string
	Err  error
}

// ListNodes is the Read of a Denial without which there is service all the same.
const ListNodes = "list nodes"

// askPatience bounds all questions of Ask together.
const askPatience = 5 * time.Second

// Ask asks the API server for what every client may ask, and for one object of
// each kind that is needed. client-go itself tries again and again without a
// word while connections are refused.
func Ask(ctx context.Context, client *Client, node string) Answer {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	if err := askVersion(ctx, client); err != nil {
		return Answer{Err: err}
	}
	var a Answer
	one := metav1.ListOptions{Limit: 1}
	one.FieldSelector = theService().String()
	services, err := client.Services.List(ctx, one)
	err = listable(services, err)
	a.deny("list services", err)
	if err == nil && len(services.Items) > 0 {
		a.ServiceIPs = services.Items[0].Spec.ClusterIPs
	}
	one.FieldSelector = ""
	a.deny("list endpointslices", listable(client.EndpointSlices.List(ctx, one)))
	one.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, node).String()
	nodes, err := client.Nodes.List(ctx, one)
	err = listable(nodes, err)
	a.deny(ListNodes, err)
	if err == nil {
		a.NodeMissing = len(nodes.Items) == 0
		a.NodeUnaddressed = !a.NodeMissing && !proxier.HasAddress(&nodes.Items[0])
	}
	return a
}

// theService selects the Service that each API server makes for itself.
func theService() fields.Selector {
	return fields.AndSelectors(
		fields.OneTermEqualSelector(metav1.ObjectNameField, "kubernetes"),
		fields.OneTermEqualSelector("metadata.namespace", metav1.NamespaceDefault))
}

func (a *Answer) deny(read string, err error) {
	if err != nil {
		a.Denied = append(a.Denied, Denial{read, err})
	}
}

func listable(list runtime.Object, err error) error {
	if err != nil {
		return err
	}
	return isList(list)
}

// askVersion also finds out whether it is an API server that answers.
func askVersion(ctx context.Context, client *Client) error {
	body, err := client.Version(ctx)
	if err != nil {
		return err
	}
	var v version.Info
	if err := json.Unmarshal(body, &v); err != nil || v.GitVersion == "" {
		return fmt.Errorf("what answers at this address is no API server: asked for /version, it says %.60q", body)
	}
	return nil
}

// String is one line: what is wrong, or that nothing is.
func (a Answer) String() string {
	switch {
	case apierrors.IsUnauthorized(a.Err):
		return fmt.Sprintf("the API server does not know this client: %v: has its token or certificate expired?", a.Err)
	case a.Err != nil:
		return fmt.Sprintf("the API server does not answer: %v", a.Err)
	case len(a.Denied) > 0:
		var all []string
		for _, d := range a.Denied {
			all = append(all, fmt.Sprintf("%s: %v", d.Read, d.Err))
		}
		return "the API server answers, but not everything: " + strings.Join(all, "; ")
	case a.NodeMissing:
		return "there is no Node object of this node's name: does --hostname-override say what kubectl get nodes shows?"
	case a.NodeUnaddressed:
		return "the Node object of this node has no address yet: does a cloud controller run?"
	}
	return "the API server answers, and has not sent all objects yet"
}
