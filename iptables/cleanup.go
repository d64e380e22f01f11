package iptables

// Cleanup is the Patch that removes all that is ours: jumps, then chains.
func Cleanup(have Observation) *Patch {
	var nothing Ruleset
	for _, table := range have.Own.Tables {
		nothing.Tables = append(nothing.Tables, Table{Name: table.Name})
	}
	return Diff(have, nothing, 0)
}
