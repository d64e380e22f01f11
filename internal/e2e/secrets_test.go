package e2e

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// The program listens where it is told to and nowhere else, and neither its pages
// nor its log, however talkative, hold what it knows the API server by.
func TestListenersAndWhatTheyTell(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	kubeconfig, err := clientcmd.LoadFromFile(s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, user := range kubeconfig.AuthInfos {
		secrets = append(secrets, user.Token)
	}
	if len(secrets) == 0 || slices.Contains(secrets, "") {
		t.Fatal("the kubeconfig has no token: this test says nothing")
	}
	before := s.listening()
	d := s.startSynced("-v=10")
	at := slices.DeleteFunc(s.listening(), func(address string) bool { return slices.Contains(before, address) })
	if want := []string{"0000000000000000FFFF00000100007F:2809", "00000000000000000000000000000000:2810", "0100007F:2809"}; len(at) != 2 ||
		slices.ContainsFunc(at, func(a string) bool { return !slices.Contains(want, a) }) {
		t.Errorf("it listens at %q, want 127.0.0.1:10249 and any address, port 10256", at)
	}
	pages := map[uint16]map[string]int{
		10249: {
			"/metrics": 200, "/configz": 200, "/proxyMode": 200, "/healthz": 200,
			"/debug/pprof/": 404, "/debug/pprof/cmdline": 404, "/debug/flags/v": 404,
		},
		10256: {"/healthz": 200, "/livez": 200, "/status": 200, "/metrics": 404},
	}
	for port, codes := range pages {
		for path, want := range codes {
			code, text := s.get(s.node1.Host, netip.MustParseAddr("127.0.0.1"), port, path)
			if code != want {
				t.Errorf("port %d, %s: code %d, want %d: %s", port, path, code, want, text)
			}
			for _, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("port %d, %s shows the token", port, path)
				}
			}
		}
	}
	for _, secret := range secrets {
		if strings.Contains(d.log.text(), secret) {
			t.Error("the log shows the token")
		}
	}
}

// listening are the places of node1 where TCP is listened at, as /proc/net/tcp and
// tcp6 print them: hexadecimal.
func (s *stage) listening() []string {
	s.t.Helper()
	var all []string
	err := s.node1.Do(func() error {
		for _, file := range []string{"tcp", "tcp6"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				if fields := strings.Fields(line); fields[3] == "0A" { // TCP_LISTEN
					all = append(all, fields[1])
				}
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}
