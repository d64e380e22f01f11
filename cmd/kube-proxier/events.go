package main

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// eventSource is who the events come from.
const eventSource = "kube-proxier"

// startEvents returns a recorder whose events go to the API server until ctx
// ends.
func startEvents(ctx context.Context, sink record.EventSink, node string) record.EventRecorder {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(sink)
	// Events are recorded on references only, for which no kinds need to be known.
	return broadcaster.NewRecorder(runtime.NewScheme(), corev1.EventSource{Component: eventSource, Host: node})
}

// nodeReference is a Node as kubectl describe looks for its events: with the
// name in place of the UID, as the kubelet has it.
func nodeReference(name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(name)}
}

// nodeEvents are events on this node's Node object; none without a recorder.
type nodeEvents struct {
	recorder record.EventRecorder
	name     string
}

func (n nodeEvents) normal(reason, note string, args ...any) {
	n.record(corev1.EventTypeNormal, reason, note, args...)
}

func (n nodeEvents) warning(reason, note string, args ...any) {
	n.record(corev1.EventTypeWarning, reason, note, args...)
}

func (n nodeEvents) record(kind, reason, note string, args ...any) {
	if n.recorder == nil {
		return
	}
	n.recorder.Eventf(nodeReference(n.name), kind, reason, note, args...)
}

// An eventReporter tells the owner of a Service, on the Service itself, that
// the kernel of a node refuses it, or that the node lacks what it asks for. It
// is used by one goroutine.
type eventReporter struct {
	recorder record.EventRecorder
	node     string
	news     proxier.News
}

// Synced records an event for each refusal and problem that is new, and one on
// the Node when nearly everything is lost.
func (e *eventReporter) Synced(r proxier.Report) {
	if r.Loss != nil {
		e.recorder.Eventf(nodeReference(e.node), corev1.EventTypeWarning, "ServicesLost",
			"of %d Services with endpoints over %s, %d are suddenly left; the node does as the objects say", r.Loss.Before, r.Family, r.Loss.Left)
	}
	if r.Err != nil {
		return
	}
	e.tellProblems(r)
	e.tellFeud(r)
	e.tellRefusals(r)
}

// tellRefusals records those that are new.
func (e *eventReporter) tellRefusals(r proxier.Report) {
	for _, refusal := range e.news.Refused(r) {
		t := refusal.Target
		if reference := referenceTo(r.State, t.Name.NamespacedName); reference != nil {
			e.recorder.Eventf(reference, corev1.EventTypeWarning, "RulesRefused",
				"%s %s is not served over %s by node %s: %.500v", t.Name, t.Name.Protocol, r.Family, e.node, refusal.Err)
		}
	}
}

// tellFeud records on the Node that somebody keeps changing what is repaired.
func (e *eventReporter) tellFeud(r proxier.Report) {
	if began, _ := e.news.Feud(r); began {
		e.recorder.Eventf(nodeReference(e.node), corev1.EventTypeWarning, "RulesContested",
			"somebody else keeps changing %s over %s, which was repaired %d times; repairs are made more rarely from now on: %.700s",
			r.Dataplane, r.Family, r.Feud.Repairs, strings.Join(noticed(r.Noticed), "; "))
	}
}

// tellProblems records those that only this node has, and that are new.
func (e *eventReporter) tellProblems(r proxier.Report) {
	for _, p := range e.news.Problems(r) {
		if p.Kind != "Service" {
			continue
		}
		if reference := referenceTo(r.State, types.NamespacedName{Namespace: p.Namespace, Name: p.Name}); reference != nil {
			e.recorder.Eventf(reference, corev1.EventTypeWarning, "NodeDiffers", "node %s: %.900s", e.node, p)
		}
	}
}

// referenceTo is nil where the Service is not there.
func referenceTo(state *proxier.State, name types.NamespacedName) *corev1.ObjectReference {
	s := state.Service(name)
	if s == nil || s.Objects.Service == nil {
		return nil
	}
	return &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Service", Namespace: name.Namespace, Name: name.Name, UID: s.Objects.Service.UID,
	}
}

// reporters tell several of each pass.
type reporters []proxier.Reporter

// Synced tells each; but not that it is not the rules' turn, which would be taken
// for news of them: that nothing of them is refused any more.
func (rs reporters) Synced(r proxier.Report) {
	if _, ok := r.Plan.(mode.OtherTurn); ok {
		return
	}
	for _, reporter := range rs {
		reporter.Synced(r)
	}
}
