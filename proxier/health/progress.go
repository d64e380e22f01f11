package health

import "github.com/kube-proxier/kube-proxier/proxier"

// A Progress passes on what a Reconciler says about the passes over one family.
type Progress struct {
	Health *Health
	Checks *Checks
}

// Due tells Health.
func (p Progress) Due(family proxier.Family) { p.Health.Due(family) }

// Done tells Health of a good pass, and has the health check node ports tell of
// what is in force since.
func (p Progress) Done(state *proxier.State, refused []proxier.Refusal, err error) {
	if err != nil {
		return
	}
	p.Health.Done(state.Family)
	p.Checks.Sync(state, refused)
}
