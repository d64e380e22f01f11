package health

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Status keeps what the last passes did, for people to read. It is a
// proxier.Reporter for any number of families, and safe for concurrent use.
type Status struct {
	// Version and Node are shown as they are.
	Version, Node string
	// Findings is what was found to be wrong with this host at the start; shown
	// as it is, or nil.
	Findings any
	// Checks are the health check node ports to show.
	Checks []*Checks
	// APILost is since when the API server does not answer, and why; zero while it
	// does. Nil without one.
	APILost func() (since time.Time, why string)
	// ManifestProblems are those of the files that the objects come from. Nil where
	// they come from an API server.
	ManifestProblems func() []proxier.Problem

	mu       sync.Mutex
	mode     string
	config   *configPage
	families map[proxier.Family]*familyStatus
}

// familyStatus is what is known of one family.
type familyStatus struct {
	services   int
	pods       string
	problems   []proxier.Problem
	loss       *lossPage          // the last one
	other      *otherVariantPage  // what was written last
	dataplanes []*dataplaneStatus // in the order in which they were first seen
}

type dataplaneStatus struct {
	name                        string
	lastPass, lastGood, errorAt time.Time
	err                         error
	// wroteAt and the following are of the last pass that had something to do.
	wroteAt  time.Time
	took     time.Duration
	wrote    proxier.Summary
	repaired bool
	noticed  []proxier.Drift
	feud     *proxier.Feud
	refused  []proxier.Refusal
	problems []proxier.Problem
}

// Begin says in which mode the passes are from now on, and forgets the
// dataplanes of those before.
func (s *Status) Begin(mode string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = mode
	for _, f := range s.families {
		f.dataplanes = nil
	}
}

// Synced keeps what a pass did.
func (s *Status) Synced(r proxier.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.family(r.Family)
	if !r.Following { // whose State may be an earlier one
		f.services, f.pods, f.problems = r.State.Served(), r.State.LocalPods.String(), r.State.Problems
	}
	at := now()
	if r.Loss != nil {
		f.loss = &lossPage{at, r.Loss.Before, r.Loss.Left}
	}
	f.dataplane(r.Dataplane).keep(r, at)
}

// family is what is known of one. s.mu is held.
func (s *Status) family(family proxier.Family) *familyStatus {
	f := s.families[family]
	if f == nil {
		f = &familyStatus{}
		if s.families == nil {
			s.families = map[proxier.Family]*familyStatus{}
		}
		s.families[family] = f
	}
	return f
}

// OtherVariant keeps that somebody wrote a Service proxy's chains with that
// variant of iptables, which is not in use.
func (s *Status) OtherVariant(family proxier.Family, variant string, d proxier.Drift) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, writes := s.family(family), 1
	if f.other != nil {
		writes += f.other.Writes
	}
	f.other = &otherVariantPage{Variant: variant, Time: now(), Writes: writes, Noticed: d.String()}
}

func (f *familyStatus) dataplane(name string) *dataplaneStatus {
	for _, d := range f.dataplanes {
		if d.name == name {
			return d
		}
	}
	d := &dataplaneStatus{name: name}
	f.dataplanes = append(f.dataplanes, d)
	return d
}

func (d *dataplaneStatus) keep(r proxier.Report, at time.Time) {
	d.lastPass = at
	if r.Err != nil {
		d.err, d.errorAt = r.Err, at
		return
	}
	d.lastGood, d.refused, d.problems, d.feud = at, r.Refused, r.Findings.Problems, r.Feud
	if !r.Plan.Empty() {
		d.wroteAt, d.took, d.wrote, d.repaired = at, r.Duration, r.Plan.Summary(), r.Drift
		d.noticed = r.Noticed
	}
}

// statusPage is the body of /status. Times that have not come yet are left out.
type statusPage struct {
	Version      string              `json:"version"`
	Node         string              `json:"node"`
	Mode         string              `json:"mode"`
	Config       *configPage         `json:"config,omitempty"`
	CurrentTime  time.Time           `json:"currentTime"`
	Healthy      bool                `json:"healthy"`
	NodeEligible bool                `json:"nodeEligible"`
	NotEligible  proxier.Eligibility `json:"notEligibleBecause,omitempty"`
	// APIServer is there while the API server does not answer.
	APIServer        *apiServerPage `json:"apiServerUnanswered,omitempty"`
	ManifestProblems []string       `json:"manifestProblems,omitempty"`
	// Findings are of the start.
	Findings     any                                `json:"findings,omitempty"`
	Families     map[proxier.Family]familyPage      `json:"families"`
	HealthChecks map[proxier.Family][]checkPageItem `json:"healthCheckNodePorts"`
}

type apiServerPage struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

type familyPage struct {
	Healthy bool `json:"healthy"`
	// WaitingSince is when the oldest change came that is not in the kernel yet.
	WaitingSince time.Time `json:"waitingSince,omitzero"`
	LastUpdated  time.Time `json:"lastUpdated,omitzero"`
	Services     int       `json:"services"`
	// LocalPods is how pods are told from other clients.
	LocalPods string    `json:"localPods,omitempty"`
	Problems  []string  `json:"problems"`
	LastLoss  *lossPage `json:"lastLoss,omitempty"`
	// OtherVariant is there once somebody has written with it.
	OtherVariant *otherVariantPage `json:"otherVariantWritten,omitempty"`
	Dataplanes   []dataplanePage   `json:"dataplanes"`
}

// lossPage tells of a proxier.Loss.
type lossPage struct {
	Time   time.Time `json:"time"`
	Before int       `json:"servicesBefore"`
	Left   int       `json:"servicesLeft"`
}

// otherVariantPage tells of a Service proxy that writes with the variant of
// iptables that is not in use.
type otherVariantPage struct {
	Variant string `json:"variant"`
	// Time and Noticed are of the last of the Writes.
	Time    time.Time `json:"time"`
	Writes  int       `json:"writes"`
	Noticed string    `json:"noticed"`
}

type dataplanePage struct {
	Name        string        `json:"name"`
	LastPass    time.Time     `json:"lastPass,omitzero"`
	LastSuccess time.Time     `json:"lastSuccess,omitzero"`
	LastError   *errorPage    `json:"lastError,omitempty"`
	LastWrite   *writePage    `json:"lastWrite,omitempty"`
	Refused     []refusalPage `json:"refused"`
	Problems    []string      `json:"problems,omitempty"`
	// Feud is there while somebody keeps changing what is repaired.
	Feud *feudPage `json:"feud,omitempty"`
}

type feudPage struct {
	Since   time.Time `json:"since"`
	Repairs int       `json:"repairs"`
	// WaitSeconds lie at least between a repair and the next.
	WaitSeconds float64 `json:"waitSeconds"`
}

type errorPage struct {
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
}

type writePage struct {
	Time    time.Time `json:"time"`
	Seconds float64   `json:"seconds"`
	// Repair is true when nothing had changed but the kernel.
	Repair bool `json:"repair,omitempty"`
	// Noticed tells who did what it repaired, as far as is known.
	Noticed []string `json:"noticed,omitempty"`
	Chains  int      `json:"chains,omitempty"`
	Rules   int      `json:"rules,omitempty"`
	Deleted int      `json:"deleted,omitempty"`
	Bytes   int      `json:"bytes,omitempty"`
	Flows   int      `json:"flows,omitempty"`
}

type refusalPage struct {
	ServicePort string `json:"servicePort"`
	Protocol    string `json:"protocol"`
	Reason      string `json:"reason"`
}

func (s *Status) page(r reading, e proxier.Eligibility) statusPage {
	p := statusPage{
		Version: s.Version, Node: s.Node, CurrentTime: r.at,
		Healthy: r.healthy, NodeEligible: e == proxier.Eligible, NotEligible: e,
		Findings: s.Findings,
		Families: map[proxier.Family]familyPage{}, HealthChecks: map[proxier.Family][]checkPageItem{},
	}
	for _, c := range s.Checks {
		p.HealthChecks[c.Family] = c.page()
	}
	if s.APILost != nil {
		if since, why := s.APILost(); !since.IsZero() {
			p.APIServer = &apiServerPage{since, why}
		}
	}
	if s.ManifestProblems != nil {
		p.ManifestProblems = texts(s.ManifestProblems())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Mode, p.Config = s.mode, s.config
	for family, f := range r.families {
		p.Families[family] = s.families[family].page(f)
	}
	return p
}

// page may be asked before the first pass has ended, when f is nil.
func (f *familyStatus) page(r familyReading) familyPage {
	p := familyPage{
		Healthy: r.healthy, WaitingSince: r.waits, LastUpdated: r.updated,
		Problems: []string{}, Dataplanes: []dataplanePage{},
	}
	if f == nil {
		return p
	}
	p.LastLoss, p.OtherVariant = f.loss, f.other
	p.Services, p.LocalPods, p.Problems = f.services, f.pods, append(p.Problems, texts(f.problems)...)
	for _, d := range f.dataplanes {
		p.Dataplanes = append(p.Dataplanes, d.page())
	}
	return p
}

func (d *dataplaneStatus) page() dataplanePage {
	p := dataplanePage{
		Name: d.name, LastPass: d.lastPass, LastSuccess: d.lastGood,
		Refused: []refusalPage{}, Problems: texts(d.problems),
	}
	if d.err != nil {
		p.LastError = &errorPage{d.errorAt, d.err.Error()}
	}
	if !d.wroteAt.IsZero() {
		p.LastWrite = &writePage{
			Time: d.wroteAt, Seconds: d.took.Seconds(), Repair: d.repaired, Noticed: driftTexts(d.noticed),
			Chains: d.wrote.Chains, Rules: d.wrote.Rules, Deleted: d.wrote.Deleted, Bytes: d.wrote.Bytes, Flows: d.wrote.Flows,
		}
	}
	if d.feud != nil {
		p.Feud = &feudPage{d.feud.Since, d.feud.Repairs, d.feud.Wait.Seconds()}
	}
	for _, refusal := range d.refused {
		name := refusal.Target.Name
		p.Refused = append(p.Refused, refusalPage{name.String(), string(name.Protocol), refusal.Err.Error()})
	}
	slices.SortStableFunc(p.Refused, func(a, b refusalPage) int {
		return cmp.Or(cmp.Compare(a.ServicePort, b.ServicePort), cmp.Compare(a.Protocol, b.Protocol))
	})
	return p
}

func driftTexts(drifts []proxier.Drift) []string {
	var all []string
	for _, d := range drifts {
		if s := d.String(); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func texts(problems []proxier.Problem) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.String())
	}
	return all
}
