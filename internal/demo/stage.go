package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// serverPort and dnsPort are where servers in pods listen, over TCP and UDP.
const (
	serverPort = 8080
	dnsPort    = 5353
)

// A stage is where the demo takes place.
type stage struct {
	out       io.Writer
	program   string // path of kube-proxier
	manifests string // folder that the daemons watch
	logs      string // folder of the daemons' logs

	cluster *testenv.Cluster
	pods    map[string]*testenv.Host
	daemons []*daemon

	wrong int // connections that did not do what was expected
}

// podPlan is a pod to be made. All but the shopper serve.
type podPlan struct{ node, name, addr4, addr6 string }

func podPlans() []podPlan {
	return []podPlan{
		{"node1", "shopper", "10.244.1.10", "fd00:10:244:1::10"},
		{"node1", "web-1", "10.244.1.11", "fd00:10:244:1::11"},
		{"node2", "web-2", "10.244.2.12", "fd00:10:244:2::12"},
		{"node2", "web-3", "10.244.2.13", "fd00:10:244:2::13"},
	}
}

// newStage builds the network, the pods and the manifests.
func newStage(out io.Writer, program, dir string) (*stage, error) {
	s := &stage{
		out: out, program: program, pods: map[string]*testenv.Host{},
		manifests: filepath.Join(dir, "manifests"), logs: filepath.Join(dir, "logs"),
	}
	for _, folder := range []string{s.manifests, s.logs} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return nil, err
		}
	}
	if err := s.writeManifests(); err != nil {
		return nil, err
	}
	var err error
	if s.cluster, err = testenv.NewCluster(); err != nil {
		return nil, err
	}
	for _, plan := range podPlans() {
		if err := s.addPod(plan); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *stage) addPod(plan podPlan) error {
	pod, err := s.cluster.Node(plan.node).AddPod(plan.name, netip.MustParseAddr(plan.addr4), netip.MustParseAddr(plan.addr6))
	if err != nil {
		return err
	}
	s.pods[plan.name] = pod
	if plan.name == "shopper" {
		return nil
	}
	for _, addr := range pod.Addrs() {
		_, tcp := pod.Serve("tcp", netip.AddrPortFrom(addr, serverPort))
		_, udp := pod.Serve("udp", netip.AddrPortFrom(addr, dnsPort))
		if err := errors.Join(tcp, udp); err != nil {
			return err
		}
	}
	return nil
}

// nameOf is the name of the host that has the address, or else the address.
func (s *stage) nameOf(addr netip.Addr) string {
	hosts := []*testenv.Host{s.cluster.Client(), s.cluster.Node("node1").Host, s.cluster.Node("node2").Host}
	for _, pod := range s.pods {
		hosts = append(hosts, pod)
	}
	for _, h := range hosts {
		if slices.Contains(h.Addrs(), addr) {
			return h.Name
		}
	}
	return addr.String()
}

// close ends what runs and removes the network.
func (s *stage) close() error {
	var failed []error
	for _, d := range s.daemons {
		failed = append(failed, d.stop())
	}
	s.daemons = nil
	return errors.Join(append(failed, s.cluster.Close())...)
}

// say prints a paragraph.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...)
}
