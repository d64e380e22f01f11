package health

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// proxyBody is the body of /healthz and /livez, as kube-proxy writes it.
type proxyBody struct {
	LastUpdated time.Time `json:"lastUpdated"`
	CurrentTime time.Time `json:"currentTime"`
	// NodeEligible is only in /healthz.
	NodeEligible *bool `json:"nodeEligible,omitempty"`
	// Healthy does not depend on NodeEligible.
	Healthy bool                          `json:"healthy"`
	Status  map[proxier.Family]familyBody `json:"status"`
}

type familyBody struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

// livez is the answer of /livez.
func livez(r reading) (int, proxyBody) {
	body := proxyBody{
		LastUpdated: r.updated, CurrentTime: r.at, Healthy: r.healthy,
		Status: make(map[proxier.Family]familyBody, len(r.families)),
	}
	for family, f := range r.families {
		body.Status[family] = familyBody{f.updated, f.healthy}
	}
	return finish(body, r.healthy)
}

// healthz is the answer of /healthz: that of /livez, and 503 also when load
// balancers should leave the node alone.
func healthz(r reading, eligible bool) (int, proxyBody) {
	_, body := livez(r)
	body.NodeEligible, body.LastUpdated = &eligible, r.updated
	return finish(body, r.healthy && eligible)
}

// finish chooses the code. With a good one, lastUpdated is now: clients older
// than "healthy" take an old time, which only means that nothing has changed,
// for a stall.
func finish(body proxyBody, ok bool) (int, proxyBody) {
	if !ok {
		return http.StatusServiceUnavailable, body
	}
	body.LastUpdated = body.CurrentTime
	return http.StatusOK, body
}

// checkBody is the body of a health check node port, as kube-proxy writes it.
type checkBody struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

// check is the answer of a health check node port.
func check(service types.NamespacedName, localEndpoints int, healthy bool) (int, checkBody) {
	body := checkBody{LocalEndpoints: localEndpoints, ServiceProxyHealthy: healthy}
	body.Service.Namespace, body.Service.Name = service.Namespace, service.Name
	if localEndpoints == 0 || !healthy {
		return http.StatusServiceUnavailable, body
	}
	return http.StatusOK, body
}

// weightHeader tells load balancers that weigh nodes how many endpoints there
// are.
const weightHeader = "X-Load-Balancing-Endpoint-Weight"

func writeCheck(w http.ResponseWriter, code int, body checkBody) {
	w.Header().Set(weightHeader, strconv.Itoa(body.LocalEndpoints))
	writeJSON(w, code, body)
}

// writeJSON answers. Who does not listen to the end is nobody's concern.
func writeJSON(w http.ResponseWriter, code int, body any) {
	text, err := json.MarshalIndent(body, "", "\t")
	if err != nil { // not for the types of this package
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n'))
}
