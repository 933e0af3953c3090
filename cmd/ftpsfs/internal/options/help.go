package options

import (
	"fmt"
	"strings"
)

// Help lists the options, one a line, for `ftpsfs help`.
func Help() string {
	var b strings.Builder
	for _, r := range table {
		fmt.Fprintf(&b, "  %-28s %s\n", r.name+r.arg, r.help)
	}
	return b.String()
}

// Names lists the names of all options of ours, for the test of the manual.
func Names() []string {
	list := make([]string, len(table))
	for i, r := range table {
		list[i] = r.name
	}
	return list
}
