package pool

import (
	"testing"
)

// A file that is to be continued and is not there, or shorter, is not: the server would begin a new one with its end, or leave a hole.
// Whatever a server says in place of the size counts as that, but for one that does not know the command.
func TestContinuedOnlyWhereItIs(t *testing.T) {
	for reply, goesOn := range map[string]bool{
		"213 7":                                 true,
		"213 9":                                 true, // looked at when it is complete
		"213 6":                                 false,
		"213 many":                              false,
		"550 /f: No such file or directory":     false,
		"550 Can't check for file existence":    false, // Pure-FTPd, of a file that it has removed just now
		"550 Could not get file size.":          false, // vsftpd
		"451 not now":                           false,
		"502 SIZE is not known":                 true,
		"500 SIZE not understood":               true,
		"213 7 bytes, which is no reply at all": false,
	} {
		f := newFake(t)
		f.put("/f", "content")
		f.script(func(c *fakeConn, verb, _ string) bool {
			if verb == "SIZE" {
				c.say("%s", reply)
			}
			return verb == "SIZE"
		})
		e := connectFake(t, f, oneConnection)
		u, err := e.Upload(e.ctx, "/f", UploadOptions{Mode: UploadAt, Offset: 7})
		if goesOn != (err == nil) || err != nil && KindOf(err) != KindIncomplete {
			t.Errorf("%s: %v", reply, err)
		}
		if err == nil {
			u.Abort()
		}
		if n := f.sent("STOR"); n > 0 != goesOn {
			t.Errorf("%s: %d times continued", reply, n)
		}
	}
}
