package ipvs_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/ipvs"
)

// What kube-proxy leaves behind is read and written back, line by line.
func TestADumpOfKubeProxyIsReadAndWritten(t *testing.T) {
	dump, err := os.ReadFile("../testdata/dumps/kube-proxy-ipvs.ipvsadm")
	if err != nil {
		t.Fatal(err)
	}
	list, err := ipvs.Parse(string(dump))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sorted(string(dump)), sorted(ipvs.Text(list))); diff != "" {
		t.Errorf("the dump is not what was read (-dump +read):\n%s", diff)
	}
	again, err := ipvs.Parse(ipvs.Text(list))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(list, again, (*ipvs.VirtualServer).Equal) {
		t.Error("the text of a list is not read as the list")
	}
}

func sorted(text string) []string {
	return slices.Sorted(strings.Lines(text))
}

// Each line is an Op, printed as it is written here.
func TestOpsReadAsTheyAreWritten(t *testing.T) {
	for _, line := range []string{
		"-A -t 10.96.0.1:443 -s rr",
		"-A -u [fd00:10:96::a]:53 -s wlc -p 10800",
		"-A --sctp-service 10.96.10.10:3868 -s mh -b mh-port",
		"-A -t 10.96.0.1:443 -s sh -b sh-fallback,sh-port",
		"-A -t 10.96.0.1:443 -s ovf -b flag-1,flag-3",
		"-A -t 10.96.0.1:443 -s rr -p 600 -M 255.255.255.0",
		"-A -t 10.96.0.1:443 -s rr -p 600 -M 0.0.0.0",
		"-A -t [fd00:10:96::a]:53 -s rr -p 600 -M 24",
		"-A -u 10.96.0.1:443 -s rr -p 1 -M 255.255.0.0 -o -b flag-2",
		"-E -t 10.96.0.1:443 -s lblcr -p 600",
		"-D -t 10.96.0.1:443",
		"-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1",
		"-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 65535 -x 9 -y 3",
		"-e -u [fd00:10:96::a]:53 -r [fd00:10:244:1::10]:53 -i -w 0",
		"-e -t 10.96.0.1:443 -r 172.18.0.2:443 -g -w 7",
		"-d --sctp-service 10.96.10.10:3868 -r 10.244.1.95:3868",
	} {
		o, err := ipvs.ParseOp(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if o.String() != line {
			t.Errorf("%s is printed as %s", line, o)
		}
	}
}

func TestWhatIsNoDumpIsRefused(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"no address", "-A -t", "COMMAND PROTOCOL ADDRESS"},
		{"a long option", "--add-service -t 10.0.0.1:80 -s rr", "none of the commands"},
		{"another protocol", "-A -x 10.0.0.1:80 -s rr", "none of the protocols"},
		{"a name", "-A -t host:http -s rr", "host:http"},
		{"no scheduler", "-A -t 10.0.0.1:80", "-s is missing"},
		{"no value", "-A -t 10.0.0.1:80 -s", "value is missing"},
		{"no real server", "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -m -w 1", "-r is missing"},
		{"a weight that is too large", "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 65536", "65536"},
		{"a mask without persistence", "-A -t 10.0.0.1:80 -s rr -M 255.0.0.0", "-M without -p"},
		{"a mask with holes", "-A -t 10.0.0.1:80 -s rr -p 1 -M 255.0.255.0", "holes"},
		{"a mask of the other family", "-A -t [fd00::1]:80 -s rr -p 1 -M 255.0.0.0", "prefix length"},
		{"a flag of another scheduler", "-A -t 10.0.0.1:80 -s sh -b mh-port", "has no flag"},
		{"an option of real servers", "-A -t 10.0.0.1:80 -s rr -w 1", "not a known option"},
		{"a real server of nobody", "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 1", "no such virtual server"},
		{"twice the same", "-A -t 10.0.0.1:80 -s rr\n-A -t 10.0.0.1:80 -s rr", "there already"},
		{"twice the same real server", "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m", "there already"},
		{"a deletion", "-A -t 10.0.0.1:80 -s rr\n-D -t 10.0.0.1:80", "neither -A nor -a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ipvs.Parse(test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "line ") {
				t.Errorf("error %v, want one that names the line and says %q", err, test.want)
			}
		})
	}
}

func TestVirtualServersByFirewallMarkAreLeftOut(t *testing.T) {
	list, err := ipvs.Parse("-A -f 7 -s rr\n-a -f 7 -r 10.1.0.1:0 -m -w 1\n-A -t 10.0.0.1:80 -s rr\n")
	if err != nil || ipvs.Text(list) != "-A -t 10.0.0.1:80 -s rr\n" {
		t.Errorf("read as %q, error %v", ipvs.Text(list), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-A -t 10.96.0.1:443 -s mh -p 600 -M 255.255.255.0 -o -b mh-port\n-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1 -x 3 -y 2\n")
	f.Add("-A --sctp-service [fd00::1]:1 -s sh -p 1 -M 64 -b sh-fallback\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ipvs.Parse(text)
		if err != nil {
			return
		}
		again, err := ipvs.Parse(ipvs.Text(list))
		if err != nil || !slices.EqualFunc(list, again, (*ipvs.VirtualServer).Equal) {
			t.Errorf("%q is printed as %q, which is read as %q, error %v", text, ipvs.Text(list), ipvs.Text(again), err)
		}
	})
}

func dumpLines(t testing.TB) []string {
	t.Helper()
	dump, err := os.ReadFile("../testdata/dumps/kube-proxy-ipvs.ipvsadm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(dump)), "\n")
}
