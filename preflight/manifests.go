package preflight

import "fmt"

// manifests is about objects that come from files. One that is wrong keeps no other
// from being served.
func (j *judge) manifests(f Facts) {
	if f.Manifests == nil {
		return
	}
	const subject = "manifests"
	m := f.Manifests
	if m.Err != nil {
		j.add(Fatal, subject, m.Err.Error(), "there is nowhere to get Services from", "name a file or a folder that this process may read with --manifests (-f)")
		return
	}
	for _, p := range m.Problems {
		j.add(Warning, subject, p.String(), "", "mend the object, or take it away")
	}
	if len(m.Problems) == 0 {
		j.ok(subject, fmt.Sprintf("%d Services, of which nothing is wrong", m.Services))
	}
}
