package conntrack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func example(src, dst, answers string) Flow {
	return Flow{
		Protocol: UDP, Zone: 7, ID: 0x12345678,
		Original: Tuple{netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)},
		Reply:    Tuple{netip.MustParseAddrPort(answers), netip.MustParseAddrPort(src)},
	}
}

func examples() map[proxier.Family]Flow {
	return map[proxier.Family]Flow{
		proxier.IPv4: example("10.244.1.2:4000", "10.96.0.10:53", "10.244.2.7:5353"),
		proxier.IPv6: example("[fd00:10:244:1::2]:4000", "[fd00:10:96::a]:53", "[fd00:10:244:2::7]:5353"),
	}
}

// message is what the kernel says about a flow.
func message(family proxier.Family, f Flow) []byte {
	b := appendTuple(header(family), ctaTupleOrig, f.Protocol, f.Original)
	b = appendTuple(b, ctaTupleReply, f.Protocol, f.Reply)
	b = appendAttribute(b, 3, []byte{0, 0, 1, 0x88}) // status
	b = appendAttribute(b, ctaID, binary.BigEndian.AppendUint32(nil, f.ID))
	return appendAttribute(b, ctaZone, binary.BigEndian.AppendUint16(nil, f.Zone))
}

func TestParseFlow(t *testing.T) {
	for family, want := range examples() {
		t.Run(string(family), func(t *testing.T) {
			got := Flow{ToNode: true} // of the flow before
			if !parseFlow(message(family, want), &got) {
				t.Fatal("not read")
			}
			if diff := cmp.Diff(want.String(), got.String()); diff != "" || got.ID != want.ID || got.ToNode {
				t.Errorf("ID %#x, to the node %v, (-want +got):\n%s", got.ID, got.ToNode, diff)
			}
		})
	}
}

// IPVS changes who is expected to answer, and says nothing of a translation.
func TestParseFlowTellsWhoTranslates(t *testing.T) {
	translated := example("10.244.1.2:4000", "10.96.0.10:53", "10.244.2.7:5353")
	direct := example("10.244.1.2:4000", "10.96.0.10:53", "10.96.0.10:53")
	for _, test := range []struct {
		name   string
		flow   Flow
		status []byte
		want   bool
	}{
		{"a rule", translated, []byte{0, 0, 1, 0xa8}, false},
		{"IPVS", translated, []byte{0, 0, 1, 0x88}, true},
		{"IPVS, masqueraded by a rule", translated, []byte{0, 0, 1, 0x98}, true},
		{"nobody", direct, []byte{0, 0, 1, 0x88}, false},
		{"not told", translated, nil, false},
	} {
		b := appendTuple(header(proxier.IPv4), ctaTupleOrig, UDP, test.flow.Original)
		b = appendTuple(b, ctaTupleReply, UDP, test.flow.Reply)
		if test.status != nil {
			b = appendAttribute(b, ctaStatus, test.status)
		}
		var got Flow
		if !parseFlow(b, &got) || got.Virtual != test.want {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

func TestParseFlowOfWhatIsCutOff(t *testing.T) {
	for family, want := range examples() {
		whole := message(family, want)
		var f Flow
		for n := range whole {
			if parseFlow(whole[:n], &f) && (f.Original != want.Original || f.Reply != want.Reply) {
				t.Errorf("%s: the first %d bytes are read as %s", family, n, &f)
			}
		}
	}
}

// What is asked for reads like what is answered.
func TestDeleteRequestNamesTheFlow(t *testing.T) {
	for family, want := range examples() {
		var got Flow
		parseFlow(deleteRequest(family, &want), &got)
		if got.Original != want.Original || got.Zone != want.Zone || got.ID != want.ID || got.Protocol != UDP {
			t.Errorf("%s: it asks for %s with ID %#x", family, &got, got.ID)
		}
	}
}

func FuzzParseFlow(f *testing.F) {
	for family, flow := range examples() {
		f.Add(message(family, flow))
	}
	f.Add([]byte{2, 0, 0, 0, 3, 0, 1, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		var f Flow
		if parseFlow(b, &f) {
			_ = f.String()
		}
	})
}
