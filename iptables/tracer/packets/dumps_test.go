package packets

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

const dumps = "../../../testdata/dumps"

// node1 is the node on which the dumps were made.
var node1 = []netip.Addr{netip.MustParseAddr("172.18.0.11"), netip.MustParseAddr("fd00:172:18::11")}

// The tables are written from testdata/dumps/objects.json and the semantics of
// Services, not from the rules. Where kube-proxy's rules are known to reach
// less far, the comment says so.
var dumpTables = map[string]string{
	"v4": `
# shop/web: LoadBalancer 203.0.113.10 for 198.51.100.0/24 and 172.18.0.0/16, node ports 30080 and 30443, three endpoints
pod 10.244.1.5      10.96.10.1:80/tcp       10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080
pod 10.244.1.5      10.96.10.1:443/tcp      10.244.1.21:8443 10.244.1.22:8443 10.244.2.21:8443
pod 10.244.2.5%eth0 10.96.10.1:80/tcp       10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080
node                10.96.10.1:80/tcp       10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
client 192.0.2.7    10.96.10.1:80/tcp       10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
pod 10.244.1.21     10.96.10.1:80/tcp       10.244.1.21:8080=masq 10.244.1.22:8080 10.244.2.21:8080
pod 10.244.2.21     10.96.10.1:443/tcp      10.244.1.21:8443 10.244.1.22:8443 10.244.2.21:8443=masq
client 192.0.2.7    172.18.0.11:30080/tcp   10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
pod 10.244.1.5      172.18.0.11:30080/tcp   10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
node                172.18.0.11:30443/tcp   10.244.1.21:8443 10.244.1.22:8443 10.244.2.21:8443 masq
node 127.0.0.1      127.0.0.1:30080/tcp     10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
client 192.0.2.7    172.18.0.12:30080/tcp   -      # another node's address
client 198.51.100.9 203.0.113.10:80/tcp     10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
client 192.0.2.7    203.0.113.10:80/tcp     drop   # not in the source ranges
client 192.0.2.7    203.0.113.10:443/tcp    drop
client 192.0.2.7    203.0.113.10:81/tcp     -      # no such port
client 192.0.2.7    203.0.113.10:80/udp     -      # no such protocol
pod 10.244.1.5      203.0.113.10:80/tcp     drop   # pods are subject to the ranges
node                203.0.113.10:80/tcp     10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
node 203.0.113.10   203.0.113.10:443/tcp    10.244.1.21:8443 10.244.1.22:8443 10.244.2.21:8443 masq
pod 10.244.1.5      10.96.10.1:81/tcp       -
pod 10.244.1.5      10.96.10.1:80/udp       -

# shop/edge: LoadBalancer 203.0.113.20, external traffic policy Local, one endpoint here, one on node2
pod 10.244.1.5      10.96.10.2:443/tcp      10.244.1.31:9443 10.244.2.31:9443
client 192.0.2.7    10.96.10.2:443/tcp      10.244.1.31:9443 10.244.2.31:9443 masq
client 192.0.2.7    203.0.113.20:443/tcp    10.244.1.31:9443
pod 10.244.1.5      203.0.113.20:443/tcp    10.244.1.31:9443 10.244.2.31:9443
node                203.0.113.20:443/tcp    10.244.1.31:9443 10.244.2.31:9443 masq
client 192.0.2.7    172.18.0.11:31443/tcp   10.244.1.31:9443
pod 10.244.1.5      172.18.0.11:31443/tcp   10.244.1.31:9443 10.244.2.31:9443
node 127.0.0.1      127.0.0.1:31443/tcp     10.244.1.31:9443 10.244.2.31:9443 masq
pod 10.244.1.31     203.0.113.20:443/tcp    10.244.1.31:9443=masq 10.244.2.31:9443
client 192.0.2.7    203.0.113.21:443/tcp    -      # its ipMode is Proxy
client 192.0.2.7    172.18.0.11:32443/tcp   -      # health check node port

# shop/edge-remote: the same policy, the only endpoint on node2
client 192.0.2.7    203.0.113.22:443/tcp    drop
client 192.0.2.7    172.18.0.11:31444/tcp   drop
pod 10.244.1.5      203.0.113.22:443/tcp    10.244.2.41:9443
pod 10.244.1.5      172.18.0.11:31444/tcp   10.244.2.41:9443
node                203.0.113.22:443/tcp    10.244.2.41:9443 masq
node                172.18.0.11:31444/tcp   10.244.2.41:9443 masq
client 192.0.2.7    10.96.10.3:443/tcp      10.244.2.41:9443 masq

# shop/sticky: node port 30084, affinity ClientIP
pod 10.244.1.5      10.96.10.4:80/tcp       10.244.1.51:8080 10.244.2.51:8080 10.244.2.52:8080 recent
client 192.0.2.7    172.18.0.11:30084/tcp   10.244.1.51:8080 10.244.2.51:8080 10.244.2.52:8080 masq recent
node                10.96.10.4:80/tcp       10.244.1.51:8080 10.244.2.51:8080 10.244.2.52:8080 masq recent
pod 10.244.1.51     10.96.10.4:80/tcp       10.244.1.51:8080=masq 10.244.2.51:8080 10.244.2.52:8080 recent

# shop/local-cache: internal traffic policy Local
pod 10.244.1.5      10.96.10.5:6379/tcp     10.244.1.61:6379
node                10.96.10.5:6379/tcp     10.244.1.61:6379 masq
client 192.0.2.7    10.96.10.5:6379/tcp     10.244.1.61:6379 masq

# shop/nowhere: no endpoints; node port 30086, external IP 192.0.2.60
pod 10.244.1.5      10.96.10.6:80/tcp       reject
client 192.0.2.7    10.96.10.6:80/tcp       reject
node                10.96.10.6:80/tcp       reject
client 192.0.2.7    172.18.0.11:30086/tcp   reject
pod 10.244.1.5      172.18.0.11:30086/tcp   reject
node                172.18.0.11:30086/tcp   reject
client 192.0.2.7    192.0.2.60:80/tcp       reject
pod 10.244.1.5      192.0.2.60:80/tcp       reject
node                192.0.2.60:80/tcp       -      # kube-proxy does not look at these in OUTPUT

# shop/draining: all endpoints terminating, still serving
pod 10.244.1.5      10.96.10.7:80/tcp       10.244.1.71:8080 10.244.2.71:8080

# shop/zonal: hints, this node is in zone-a
pod 10.244.1.5      10.96.10.8:80/tcp       10.244.1.81:8080
client 192.0.2.7    10.96.10.8:80/tcp       10.244.1.81:8080 masq

# shop/ext: external IP 192.0.2.70 over UDP, external traffic policy Local
pod 10.244.1.5      10.96.10.9:514/udp      10.244.1.91:514 10.244.2.91:514
client 192.0.2.7    192.0.2.70:514/udp      10.244.1.91:514
pod 10.244.1.5      192.0.2.70:514/udp      10.244.1.91:514 10.244.2.91:514
node                192.0.2.70:514/udp      10.244.1.91:514 10.244.2.91:514 masq

# shop/sctp: node port 30868
pod 10.244.1.5      10.96.10.10:3868/sctp   10.244.1.95:3868
client 192.0.2.7    172.18.0.11:30868/sctp  10.244.1.95:3868 masq
client 192.0.2.7    172.18.0.11:30868/tcp   -

# shop/host: endpoints are the nodes themselves
pod 10.244.1.5      10.96.10.11:9100/tcp    172.18.0.11:9100 172.18.0.12:9100
node                10.96.10.11:9100/tcp    172.18.0.11:9100 172.18.0.12:9100 masq

# kube-system/kube-dns
pod 10.244.1.5      10.96.0.10:53/udp       10.244.1.10:53 10.244.2.10:53
pod 10.244.1.5      10.96.0.10:53/tcp       10.244.1.10:53 10.244.2.10:53
pod 10.244.1.5      10.96.0.10:9153/tcp     10.244.1.10:9153 10.244.2.10:9153
node                10.96.0.10:53/udp       10.244.1.10:53 10.244.2.10:53 masq

# default/kubernetes: its endpoints were not there
pod 10.244.1.5      10.96.0.1:443/tcp       reject

# no Service
pod 10.244.1.5      10.244.2.9:80/tcp       -
pod 10.244.1.5      8.8.8.8:53/udp          -
pod 10.244.1.5      10.96.10.1/icmp         -
client 192.0.2.7    127.0.0.1:22/tcp        drop   # from outside to the loopback
node 127.0.0.1      127.0.0.1:22/tcp        -
client 192.0.2.7    10.244.1.21:8080/tcp/established  -
client 192.0.2.7    10.244.1.21:8080/tcp/invalid      drop
`,
	"v6": `
pod fd00:10:244:1::5   [fd00:10:96::a01]:80/tcp      [fd00:10:244:1::21]:8080 [fd00:10:244:1::22]:8080 [fd00:10:244:2::21]:8080
pod fd00:10:244:1::21  [fd00:10:96::a01]:80/tcp      [fd00:10:244:1::21]:8080=masq [fd00:10:244:1::22]:8080 [fd00:10:244:2::21]:8080
node                   [fd00:10:96::a01]:443/tcp     [fd00:10:244:1::21]:8443 [fd00:10:244:1::22]:8443 [fd00:10:244:2::21]:8443 masq
client 2001:db8:51::9  [2001:db8:113::10]:80/tcp     [fd00:10:244:1::21]:8080 [fd00:10:244:1::22]:8080 [fd00:10:244:2::21]:8080 masq
client 2001:db8:52::9  [2001:db8:113::10]:80/tcp     drop
pod fd00:10:244:1::5   [2001:db8:113::10]:443/tcp    drop
node                   [2001:db8:113::10]:443/tcp    drop  # no range holds the node's address
client 2001:db8:52::9  [fd00:172:18::11]:30080/tcp   [fd00:10:244:1::21]:8080 [fd00:10:244:1::22]:8080 [fd00:10:244:2::21]:8080 masq
node ::1               [::1]:30080/tcp               -     # never over IPv6
pod fd00:10:244:1::5   [fd00:10:96::a]:53/udp        [fd00:10:244:1::10]:53 [fd00:10:244:2::10]:53
client 2001:db8:52::9  [fd00:10:96::a]:9153/tcp      [fd00:10:244:1::10]:9153 [fd00:10:244:2::10]:9153 masq
pod fd00:10:244:1::5   [fd00:10:96::a02]:443/tcp     -     # shop/edge is IPv4 only
pod fd00:10:244:1::5   fd00:10:96::a01/ipv6-icmp     -
`,
}

func TestKubeProxyDumps(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		for family, table := range dumpTables {
			t.Run(variant+" "+family, func(t *testing.T) {
				tr := dumpTracer(t, "kube-proxy-iptables-"+variant+"."+family+".save")
				cases, err := Parse(table, node1)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range cases {
					if err := c.Check(tr); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

func dumpTracer(t *testing.T, name string) *tracer.Tracer {
	t.Helper()
	save, err := os.ReadFile(filepath.Join(dumps, name))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := iptables.ParseSave(string(save))
	if err != nil {
		t.Fatal(err)
	}
	tr, err := tracer.New(rules, tracer.Host{Addresses: node1})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
