package proxier

import (
	"reflect"
	"slices"
)

// Build decides what this node should serve over one family. It is pure: the
// same objects and options, in whatever order they arrived, give the same
// State. prev may be nil; it only saves work, by sharing what did not change.
func Build(prev *State, snapshot *Snapshot, options Options) *State {
	node := NodeFacts(options.NodeName, snapshot.Node, options.BindAddress)
	if prev != nil && (!reflect.DeepEqual(prev.options, options) || !prev.Node.equal(node)) {
		prev = nil // each Service may look different now
	}
	if prev == nil {
		prev = &State{}
	}
	s := &State{
		Family:            options.Family,
		Node:              node,
		LocalPods:         localPods(options, node),
		MasqueradeAll:     options.MasqueradeAll,
		NodePortAddresses: nodePortAddresses(options, node),
		OtherNodes:        snapshot.OtherNodes,
		options:           options,
	}
	delta := s.buildServices(prev, snapshot)
	if !delta.any {
		s.candidates, s.Frontends, s.NodePorts, s.Problems = prev.candidates, prev.Frontends, prev.NodePorts, prev.Problems
		return s
	}
	s.candidates = mergeFrontends(prev.candidates, delta)
	s.assignPlaces()
	return s
}

// delta is what changed from one State to the next.
type delta struct {
	any     bool // some Service came, went or was read anew
	added   []*Frontend
	removed map[*Frontend]bool
}

func (d *delta) remove(s *Service) {
	d.any = true
	for _, f := range s.frontends {
		d.removed[f] = true
	}
}

func (d *delta) add(s *Service) {
	d.any = true
	d.added = append(d.added, s.frontends...)
}

// buildServices fills s.Services, from prev where the objects are the same.
func (s *State) buildServices(prev *State, snapshot *Snapshot) *delta {
	d := &delta{removed: map[*Frontend]bool{}}
	s.Services = make([]*Service, 0, len(snapshot.Services))
	old := prev.Services
	for _, objects := range snapshot.Services {
		for len(old) > 0 && CompareNames(old[0].Objects.Name, objects.Name) < 0 {
			d.remove(old[0])
			old = old[1:]
		}
		var before *Service
		if len(old) > 0 && old[0].Objects.Name == objects.Name {
			before, old = old[0], old[1:]
		}
		s.Services = append(s.Services, s.nextService(before, objects, d, prev.OtherNodes))
	}
	for _, gone := range old {
		d.remove(gone)
	}
	return d
}

// nextService is before, where that still holds, or a new one. others are the
// nodes that before was made with.
func (s *State) nextService(before *Service, objects *ServiceObjects, d *delta, others *OtherNodes) *Service {
	if before != nil && before.Objects == objects && (s.OtherNodes == others || !before.movedBy(s.OtherNodes, s.Node)) {
		return before
	}
	service := buildService(objects, s.options, s.Node, s.OtherNodes)
	if before != nil && reflect.DeepEqual(before.Targets, service.Targets) {
		// The objects changed in nothing that matters here.
		d.any = true
		service.Targets, service.frontends = before.Targets, before.frontends
		return service
	}
	if before != nil {
		d.remove(before)
	}
	d.add(service)
	return service
}

// movedBy reports whether other nodes make a difference to the Service.
func (s *Service) movedBy(others *OtherNodes, node Node) bool {
	return slices.ContainsFunc(s.Targets, func(t *Target) bool { return t.AtNodeAddress != atNodeAddress(t.ServicePort, others, node) })
}

func buildService(objects *ServiceObjects, options Options, node Node, others *OtherNodes) *Service {
	s := &Service{Objects: objects}
	ports, problems := servicePorts(objects.Service, options.Family, options)
	s.problems = problems
	if len(ports) == 0 {
		return s
	}
	endpoints, problems := endpointsByPort(objects, options.Family, node.Name)
	s.problems = append(s.problems, problems...)
	for _, port := range ports {
		t := newTarget(port, endpoints[portKey{port.Name.Port, port.Name.Protocol}], node)
		t.AtNodeAddress = atNodeAddress(port, others, node)
		s.Targets = append(s.Targets, t)
		s.frontends = append(s.frontends, frontends(t)...)
	}
	slices.SortFunc(s.Targets, func(a, b *Target) int { return a.Name.compare(b.Name) })
	return s
}

// mergeFrontends is all without what was removed and with what was added,
// sorted.
func mergeFrontends(all []*Frontend, d *delta) []*Frontend {
	added := d.added
	slices.SortFunc(added, (*Frontend).compare)
	merged := make([]*Frontend, 0, len(all)+len(added))
	for _, f := range all {
		if d.removed[f] {
			continue
		}
		for len(added) > 0 && added[0].compare(f) < 0 {
			merged = append(merged, added[0])
			added = added[1:]
		}
		merged = append(merged, f)
	}
	return append(merged, added...)
}

// assignPlaces gives each place to its first candidate and reports the others.
func (s *State) assignPlaces() {
	conflicts := map[*Service][]Problem{}
	var winner *Frontend
	for _, f := range s.candidates {
		switch {
		case winner != nil && winner.comparePlace(f) == 0:
			if winner.Target != f.Target {
				service := s.Service(f.Target.Name.NamespacedName)
				conflicts[service] = append(conflicts[service], conflict(winner, f))
			}
			continue
		case f.Kind == NodePort:
			s.NodePorts = append(s.NodePorts, f)
		default:
			s.Frontends = append(s.Frontends, f)
		}
		winner = f
	}
	for _, service := range s.Services {
		s.Problems = append(s.Problems, service.problems...)
		s.Problems = append(s.Problems, conflicts[service]...)
	}
}
