package session_test

import (
	"net"
	"testing"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// An upload goes in TLS records of full size from the first byte on: small ones, which package tls begins with, cost both sides more.
func TestUploadsAreInRecordsOfFullSize(t *testing.T) {
	const full, count, rest = 16 << 10, 40, 100
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			sizes := make(chan int, 10*count)
			f := &fake{data: func(_ *fake, _ string, nc net.Conn) {
				defer close(sizes)
				for p := make([]byte, 2*full); ; { // a Read of package tls gives one record, or what is left of one
					n, err := nc.Read(p)
					if n > 0 {
						sizes <- n
					}
					if err != nil {
						return
					}
				}
			}}
			_, cfg := startFake(t, f)
			cfg.Trust.MaxVersion = version
			d, err := dial(t, cfg).Transfer(t.Context(), session.TransferRequest{Verb: "STOR /f"})
			if err != nil {
				t.Fatal(err)
			}
			// In pieces, as files are uploaded.
			for left := payload(count*full + rest); len(left) > 0; {
				n := min(len(left), 256<<10)
				if _, err := d.Write(left[:n]); err != nil {
					t.Fatal(err)
				}
				left = left[n:]
			}
			if _, err := d.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			i := 0
			for n := range sizes {
				if n != full && (i < count || n != rest) {
					t.Errorf("record %d has %d bytes", i, n)
				}
				i++
			}
			if i != count+1 {
				t.Errorf("%d records", i)
			}
		})
	}
}
