package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A balanced is a Service behind a load balancer, with ready endpoints on node1.
type balanced struct {
	name  string
	check uint16 // its health check node port
	local int
}

// stateOf is what node1 serves of these over IPv4, or over the family of the
// given ranges.
func stateOf(t *testing.T, within []string, services ...balanced) *proxier.State {
	t.Helper()
	store := proxier.NewStore()
	for i, b := range services {
		ip := fmt.Sprintf("10.96.0.%d", i+1)
		store.SetService(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: b.name, UID: types.UID(b.name)},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, ClusterIP: ip, ClusterIPs: []string{ip},
				IPFamilies:            []corev1.IPFamily{corev1.IPv4Protocol},
				ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, HealthCheckNodePort: int32(b.check),
				Ports: []corev1.ServicePort{{Name: "http", Port: 80, NodePort: int32(30000 + i)}, {Name: "https", Port: 443, NodePort: int32(30100 + i)}},
			},
		})
		store.SetEndpointSlice(sliceOf(b))
	}
	prefixes, invalid := proxier.ParsePrefixes(within)
	if len(invalid) > 0 {
		t.Fatalf("bad ranges %q", invalid)
	}
	state := proxier.Build(nil, store.Snapshot(), proxier.Options{Family: proxier.IPv4, NodeName: "node1", NodePortAddresses: prefixes})
	if len(state.Problems) > 0 {
		t.Fatal(state.Problems)
	}
	return state
}

// sliceOf has b's ready endpoints of node1, and beside them one that is
// terminating and one of another node, which do not count.
func sliceOf(b balanced) *discoveryv1.EndpointSlice {
	here, there, yes, no := "node1", "node2", true, false
	http, https, port := "http", "https", int32(8080)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: b.name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: b.name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &http, Port: &port}, {Name: &https, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.244.2.1"}, NodeName: &there},
			{Addresses: []string{"10.244.1.250"}, NodeName: &here, Conditions: discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}},
		},
	}
	for i := range b.local {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.1.%d", i+1)}, NodeName: &here})
	}
	return slice
}

// freePort is a port nobody listens on now.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// newChecks are healthy ones of IPv4, which end with the test.
func newChecks(t *testing.T) *Checks {
	t.Helper()
	c := &Checks{Family: proxier.IPv4, Healthy: func() bool { return true }}
	c.Failed = func(s *corev1.Service, port uint16, err error) { t.Errorf("%s port %d failed: %v", s.Name, port, err) }
	t.Cleanup(c.Close)
	return c
}

// weight asks a health check node port: "CODE WEIGHT", or "refused".
func weight(t *testing.T, host string, port uint16) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Post("http://"+net.JoinHostPort(host, strconv.Itoa(int(port)))+"/any/path", "", nil)
	if err != nil {
		var refused *net.OpError
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		return "refused"
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(response.StatusCode, " ", response.Header.Get(weightHeader))
}

func expect(t *testing.T, host string, port uint16, want string) {
	t.Helper()
	if got := weight(t, host, port); got != want {
		t.Errorf("%s port %d: %q, want %q", host, port, got, want)
	}
}

func TestChecksFollowTheState(t *testing.T) {
	c, port, other := newChecks(t), freePort(t), freePort(t)
	const host = "127.0.0.1"
	c.Sync(stateOf(t, nil, balanced{"web", port, 2}), nil)
	expect(t, host, port, "200 2")
	c.Sync(stateOf(t, nil, balanced{"web", port, 0}), nil)
	expect(t, host, port, "503 0")
	c.Sync(stateOf(t, nil, balanced{"web", other, 1}), nil)
	expect(t, host, port, "refused")
	expect(t, host, other, "200 1")
	// A port that another Service has from now on.
	c.Sync(stateOf(t, nil, balanced{"api", other, 3}, balanced{"web", port, 1}), nil)
	expect(t, host, other, "200 3")
	expect(t, host, port, "200 1")
	c.Sync(stateOf(t, nil), nil)
	expect(t, host, port, "refused")
	expect(t, host, other, "refused")
}

// Load balancers ask as they please.
func TestChecksAnswerAnyMethodAndPath(t *testing.T) {
	c, port := newChecks(t), freePort(t)
	c.Sync(stateOf(t, nil, balanced{"web", port, 2}), nil)
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		for _, path := range []string{"/", "/x", "/healthz", "//x/../y?z=1"} {
			request, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK || response.Header.Get(weightHeader) != "2" {
				t.Errorf("%s %s: %d, weight %q, %v; want 200 and 2", method, path, response.StatusCode, response.Header.Get(weightHeader), err)
			}
			if has := strings.Contains(string(body), `"localEndpoints": 2`); has != (method != http.MethodHead) {
				t.Errorf("%s %s: the body is %q", method, path, body)
			}
		}
	}
}

func TestChecksOfAnUnhealthyProxyFail(t *testing.T) {
	c, port, healthy := newChecks(t), freePort(t), true
	c.Healthy = func() bool { return healthy }
	c.Sync(stateOf(t, nil, balanced{"web", port, 2}), nil)
	expect(t, "127.0.0.1", port, "200 2")
	healthy = false
	expect(t, "127.0.0.1", port, "503 2")
}

func TestChecksOfAServiceThatTheKernelRefusesFail(t *testing.T) {
	c, port, other := newChecks(t), freePort(t), freePort(t)
	state := stateOf(t, nil, balanced{"api", other, 1}, balanced{"web", port, 2})
	second := state.Services[1].Targets[1] // one of its ports is enough
	c.Sync(state, []proxier.Refusal{{Target: second, Err: errors.New("no such match")}})
	expect(t, "127.0.0.1", port, "503 2")
	expect(t, "127.0.0.1", other, "200 1")
	c.Sync(state, nil)
	expect(t, "127.0.0.1", port, "200 2")
}

func TestAnUnchangedCheckKeepsItsListener(t *testing.T) {
	c, port := newChecks(t), freePort(t)
	c.Sync(stateOf(t, nil, balanced{"web", port, 1}), nil)
	server := c.servers[types.NamespacedName{Namespace: "shop", Name: "web"}]
	before := server.listening[0]
	c.Sync(stateOf(t, nil, balanced{"web", port, 2}), nil)
	if after := server.listening[0]; after != before {
		t.Error("the listener is another one")
	}
	// One that has broken down is replaced.
	before.Close()
	<-before.Ended()
	c.Sync(stateOf(t, nil, balanced{"web", port, 3}), nil)
	expect(t, "127.0.0.1", port, "200 3")
}

func TestATakenPortIsToldOnceAndTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c, port, free := newChecks(t), uint16(taken.Addr().(*net.TCPAddr).Port), freePort(t)
	var told []string
	c.Failed = func(s *corev1.Service, port uint16, err error) {
		told = append(told, fmt.Sprintf("%s %s %d %v", s.Name, s.UID, port, err))
	}
	state := stateOf(t, nil, balanced{"api", free, 1}, balanced{"web", port, 1})
	c.Sync(state, nil)
	c.Sync(state, nil)
	if len(told) != 1 || !strings.HasPrefix(told[0], fmt.Sprintf("web web %d health check node port %d: ", port, port)) || !strings.Contains(told[0], "in use") {
		t.Fatalf("told %q, want one failure of web that names the port and the reason", told)
	}
	if page := c.page(); len(page) != 2 || page[0].Error != "" || !strings.Contains(page[1].Error, "in use") {
		t.Errorf("the status does not name it: %+v", page)
	}
	expect(t, "127.0.0.1", free, "200 1")
	taken.Close()
	c.Sync(state, nil)
	expect(t, "127.0.0.1", port, "200 1")
	if page := c.page(); page[1].Error != "" {
		t.Errorf("the status still has an error: %+v", page)
	}
}

func TestChecksListenWhereNodePortsAreServed(t *testing.T) {
	c, port := newChecks(t), freePort(t)
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	have, failing := []netip.Addr{one, two, netip.IPv6Loopback()}, error(nil)
	c.Addresses = func() ([]netip.Addr, error) { return have, failing }
	web := balanced{"web", port, 1}
	steps := []struct {
		name     string
		do       func()
		within   []string
		one, two string
	}{
		{"everywhere", func() {}, nil, "200 1", "200 1"},
		{"in a range", func() {}, []string{"127.0.0.2/32"}, "refused", "200 1"},
		{"in a range of all", func() {}, []string{"127.0.0.0/8"}, "200 1", "200 1"},
		{"an address goes", func() { have = have[:1] }, []string{"127.0.0.0/8"}, "200 1", "refused"},
		{"an address comes", func() { have = append(have, two) }, []string{"127.0.0.0/8"}, "200 1", "200 1"},
		{"none matches", func() {}, []string{"192.0.2.0/24"}, "refused", "refused"},
		{"the addresses are unknown", func() { failing = errors.New("no netlink") }, []string{"192.0.2.0/24"}, "200 1", "200 1"},
	}
	for _, step := range steps {
		step.do()
		c.Sync(stateOf(t, step.within, web), nil)
		for host, want := range map[string]string{"127.0.0.1": step.one, "127.0.0.2": step.two} {
			if got := weight(t, host, port); got != want {
				t.Errorf("%s: %s: %q, want %q", step.name, host, got, want)
			}
		}
	}
}

// Addresses that are there twice are no port that is taken.
func TestAnAddressIsListenedOnOnce(t *testing.T) {
	c, port := newChecks(t), freePort(t)
	one := netip.MustParseAddr("127.0.0.1")
	c.Addresses = func() ([]netip.Addr, error) { return []netip.Addr{one, one}, nil }
	for range 2 {
		c.Sync(stateOf(t, []string{"127.0.0.0/8"}, balanced{"web", port, 1}), nil)
		expect(t, "127.0.0.1", port, "200 1")
	}
}

func TestAnAddressThatCannotBeListenedOnOpensNone(t *testing.T) {
	c, port := newChecks(t), freePort(t)
	c.Addresses = func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}, nil // not of this host
	}
	failures := 0
	c.Failed = func(*corev1.Service, uint16, error) { failures++ }
	c.Sync(stateOf(t, []string{"127.0.0.0/8", "192.0.2.0/24"}, balanced{"web", port, 1}), nil)
	if failures != 1 {
		t.Errorf("%d failures told, want 1", failures)
	}
	expect(t, "127.0.0.1", port, "refused")
}

func TestBothFamiliesHaveAServer(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp6", "[::1]:0")
	testenv.Lacking(t, "IPv6", err)
	l.Close()
	port := freePort(t)
	v4, v6 := newChecks(t), newChecks(t)
	v6.Family = proxier.IPv6
	v4.Sync(stateOf(t, nil, balanced{"web", port, 1}), nil)
	v6.Sync(stateOf(t, nil, balanced{"web", port, 2}), nil)
	expect(t, "127.0.0.1", port, "200 1")
	expect(t, "::1", port, "200 2")
}

func TestCheckBodies(t *testing.T) {
	for _, test := range []struct {
		name    string
		local   int64
		healthy bool
	}{{"check-healthy", 2, true}, {"check-without-endpoints", 0, true}, {"check-unhealthy", 2, false}} {
		t.Run(test.name, func(t *testing.T) {
			s := checkServer{service: types.NamespacedName{Namespace: "shop", Name: "web"}, healthy: func() bool { return test.healthy }}
			s.local.Store(test.local)
			compareGolden(t, test.name, ask(&s, http.MethodGet, "/"))
		})
	}
}
