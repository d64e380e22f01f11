package source

import (
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestRoomForMoreEndpointsIsNotKept(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{Endpoints: make([]discoveryv1.Endpoint, 10, 16)}
	slice.Endpoints[9].Addresses = []string{"10.0.0.9"}
	stripEndpointSlice(slice)
	if len(slice.Endpoints) != 10 || cap(slice.Endpoints) != 10 || slice.Endpoints[9].Addresses[0] != "10.0.0.9" {
		t.Errorf("have %d endpoints and room for %d, want the same 10", len(slice.Endpoints), cap(slice.Endpoints))
	}
}
