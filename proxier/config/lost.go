package config

import "fmt"

// LostInFile names what flags can say and the file that YAML makes cannot: a zero
// there means the default, and --master has no field. The error is for a file that
// would be refused.
func (c *Config) LostInFile() ([]Warning, error) {
	text, err := c.YAML()
	if err != nil {
		return nil, err
	}
	read, _, err := Load(text, c.NodeName)
	if err != nil {
		return nil, fmt.Errorf("a file cannot say what these flags do; read back, %w", err)
	}
	var lost []Warning
	for _, change := range c.changes(read) {
		lost = append(lost, Warning{change.Field, fmt.Sprintf("a file cannot say %.120s: it means %.120s there", change.Old, change.New)})
	}
	if c.Client.Master != "" {
		lost = append(lost, Warning{"--master", "is not in the file: give it beside --config, too"})
	}
	return lost, nil
}
