package testenv

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Privileges is the beginning of a command that runs what follows as a container of
// user 0 with these settings: with the capabilities that are left to it, which are
// those of the bounding set. It is empty for one that is privileged.
func Privileges(security *corev1.SecurityContext) []string {
	if isSet(security.Privileged) {
		return nil
	}
	capabilities := ""
	for _, c := range security.Capabilities.Add {
		capabilities += ",+" + strings.ToLower(string(c))
	}
	args := []string{"setpriv", "--bounding-set=-all" + capabilities, "--inh-caps=-all"}
	if security.AllowPrivilegeEscalation != nil && !*security.AllowPrivilegeEscalation {
		args = append(args, "--no-new-privs")
	}
	return args
}

func isSet(set *bool) bool { return set != nil && *set }
