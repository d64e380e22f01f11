package ipvs

import "slices"

// After is the sorted list have after the operations, which must fit it: an Op
// that does not fit, such as one on a virtual server that is not there, is
// passed over. Virtual servers no Op is about are shared with have.
func After(have []*VirtualServer, ops []Op) []*VirtualServer {
	if len(ops) == 0 {
		return have
	}
	changed := map[Place]*VirtualServer{} // nil for those deleted
	for _, o := range ops {
		v, known := changed[o.Place]
		if !known {
			if v = Find(have, o.Place); v != nil {
				copied := *v
				copied.Servers = slices.Clone(v.Servers)
				v = &copied
			}
		}
		changed[o.Place] = o.apply(v)
	}
	var added []*VirtualServer
	out := make([]*VirtualServer, 0, len(have)+len(changed))
	for _, v := range have {
		next, touched := changed[v.Place]
		switch {
		case !touched:
			out = append(out, v)
		case next != nil:
			out = append(out, next)
		}
		delete(changed, v.Place)
	}
	for _, v := range changed {
		if v != nil {
			added = append(added, v)
		}
	}
	if len(added) == 0 {
		return out
	}
	out = append(out, added...)
	slices.SortFunc(out, func(a, b *VirtualServer) int { return a.Compare(b.Place) })
	return out
}

// apply is v, which may be changed and may be nil, after the Op.
func (o Op) apply(v *VirtualServer) *VirtualServer {
	switch {
	case o.Kind == DeleteService:
		return nil
	case o.Kind == NewService && v == nil:
		return &VirtualServer{Place: o.Place, Settings: o.Settings}
	case v == nil:
		return nil
	case o.OnService():
		v.Settings = o.Settings
		return v
	}
	i, found := v.find(o.Server.Addr)
	switch {
	case o.Kind == DeleteServer && found:
		v.Servers = slices.Delete(v.Servers, i, i+1)
	case o.Kind == UpdateServer && found:
		v.Servers[i] = o.Server
	case o.Kind == NewServer && !found:
		v.Servers = slices.Insert(v.Servers, i, o.Server)
	}
	return v
}

// adopt is have with the virtual servers of want in place of equal ones, so
// that comparing them again costs nothing.
func adopt(have, want []*VirtualServer) []*VirtualServer {
	adopted := have
	for i, v := range have {
		for len(want) > 0 && want[0] != v && want[0].Compare(v.Place) < 0 {
			want = want[1:]
		}
		if len(want) > 0 && want[0] != v && v.Equal(want[0]) {
			if &adopted[0] == &have[0] {
				adopted = slices.Clone(have) // which somebody may be reading
			}
			adopted[i] = want[0]
		}
	}
	return adopted
}
