package scenarios

// AcceptAll is the firewall of a host whose own rules let everything through, and are there first.
const AcceptAll = `*nat
-A PREROUTING -j ACCEPT
-A OUTPUT -j ACCEPT
-A POSTROUTING -j ACCEPT
COMMIT
*filter
-A INPUT -j ACCEPT
-A FORWARD -j ACCEPT
-A OUTPUT -j ACCEPT
COMMIT
`
