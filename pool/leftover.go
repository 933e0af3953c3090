package pool

import "fmt"

// Leftover is a temporary file in the folder.
type Leftover struct {
	Name string `json:"name"`
	Of   Owner  `json:"of"`
}

// Owner says whose a temporary file is.
type Owner string

// The owners.
const (
	OfRunning Owner = "running" // a mount of this user on this machine that runs
	OfEarlier Owner = "earlier" // one that has ended: the next mount of the same URL removes it
	OfCheck   Owner = "check"   // a look at what the server can that was cut off
	OfOthers  Owner = "others"  // another user, another machine, or a mount whose state folder is gone
)

// Owners are all of them, ours first.
var Owners = []Owner{OfRunning, OfEarlier, OfCheck, OfOthers}

// judgeLeftovers tells of those that do not go by themselves.
func (r *Report) judgeLeftovers() {
	n := map[Owner]int{}
	for _, l := range r.Leftovers {
		n[l.Of]++
	}
	if n[OfEarlier] > 0 {
		r.note(fmt.Sprintf("%d temporary files of earlier mounts of yours are in the folder", n[OfEarlier]), "the next mount of the same URL removes them")
	}
	if n[OfCheck] > 0 {
		r.note(fmt.Sprintf("%d temporary files of checks that were cut off are in the folder", n[OfCheck]),
			"remove them with another client, as mounts do not show them")
	}
	if n[OfOthers] > 0 {
		r.note(fmt.Sprintf("%d temporary files of others are in the folder: of mounts of another user or machine", n[OfOthers]),
			"those of running mounts go by themselves; remove the others with another client, as mounts do not show them")
	}
}
