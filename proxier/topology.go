package proxier

// Which endpoints may serve which traffic. The rules are those of KEP-2433
// (topology hints), KEP-1669 (terminating endpoints) and KEP-2086 (traffic
// policies).

// clusterEndpoints are the endpoints for traffic that may leave the node: the
// ready ones that the hints allow; if none is ready, those that still serve
// while they terminate, wherever they are.
func clusterEndpoints(all []Endpoint, node Node) []Endpoint {
	ready := filter(all, func(e *Endpoint) bool { return e.Ready })
	if len(ready) == 0 {
		return filter(all, (*Endpoint).usableWhileTerminating)
	}
	return nearEndpoints(ready, node)
}

// localEndpoints are the endpoints of this node: the ready ones, else those
// that still serve while they terminate. Hints do not apply to them.
func localEndpoints(all []Endpoint) []Endpoint {
	ready := filter(all, func(e *Endpoint) bool { return e.Local && e.Ready })
	if len(ready) > 0 {
		return ready
	}
	return filter(all, func(e *Endpoint) bool { return e.Local && e.usableWhileTerminating() })
}

// anyUsable reports whether some endpoint, on whatever node, could serve.
func anyUsable(all []Endpoint) bool {
	for i := range all {
		if all[i].Ready || all[i].usableWhileTerminating() {
			return true
		}
	}
	return false
}

// nearEndpoints narrows ready endpoints down to this node or this zone, where
// every one of them has a hint of that kind and at least one is for us;
// otherwise to none, so that a half-written or outdated set of hints never
// cuts traffic off.
func nearEndpoints(ready []Endpoint, node Node) []Endpoint {
	if near := hinted(ready, func(e *Endpoint) (has, here bool) {
		for _, h := range e.hints.ForNodes {
			here = here || h.Name == node.Name
		}
		return len(e.hints.ForNodes) > 0, here
	}); near != nil {
		return near
	}
	if node.Zone == "" {
		return ready
	}
	if near := hinted(ready, func(e *Endpoint) (has, here bool) {
		for _, h := range e.hints.ForZones {
			here = here || h.Name == node.Zone
		}
		return len(e.hints.ForZones) > 0, here
	}); near != nil {
		return near
	}
	return ready
}

// hinted returns the endpoints whose hint names this place; nil if an endpoint
// has no hint or none names this place.
func hinted(ready []Endpoint, hint func(*Endpoint) (has, here bool)) []Endpoint {
	var near []Endpoint
	for i := range ready {
		if ready[i].hints == nil {
			return nil
		}
		has, here := hint(&ready[i])
		if !has {
			return nil
		}
		if here {
			near = append(near, ready[i])
		}
	}
	return near
}

// filter returns those to keep: all itself where that is all of them, as it is
// for most pools of most Services.
func filter(all []Endpoint, keep func(*Endpoint) bool) []Endpoint {
	n := 0
	for i := range all {
		if keep(&all[i]) {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case len(all):
		return all
	}
	kept := make([]Endpoint, 0, n)
	for i := range all {
		if keep(&all[i]) {
			kept = append(kept, all[i])
		}
	}
	return kept
}
