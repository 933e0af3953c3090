// Package embedded is a small FTPS server inside the process, for the demo and for fast tests: github.com/fclairamb/ftpserverlib
// over one real folder, which nothing can leave (os.Root: symlinks that point out of it are refused).
//
// What it does not do as ordinary servers do, so that nobody is surprised:
//   - MLSD and MLST tell type, size and modify only: no permission bits, no owner, no unique fact, and a symlink is shown
//     as what it points to (a dangling one as a file). MLST gives the last path element as the name.
//   - SITE CHMOD works, but the result can be seen in LIST only.
//   - The 226 is sent at once, the 150 too: neither waits for the data channel's TLS handshake.
//   - Commands sent while a transfer runs are queued behind it.
//   - LIST takes "-a", "-l", "-al", "-la" as options only if no such name exists.
//   - REST n + STOR writes in place and keeps the tail; beyond the end it leaves a hole. APPE creates. A STOR that was cut
//     off by a bare FIN is taken as complete, as most servers do.
//   - A session ticket opens any later connection: resumption is offered, never demanded.
//   - PASV works on IPv4 only (EPSV on both). PORT and EPRT work.
//   - XSHA256, XSHA1, XMD5 and XCRC want quotes round a path with spaces; HASH itself is there, but not announced as such.
//   - Names are bytes; those with CR or LF in them cannot be told in a listing and are left out.
//   - A line of more than 4 kB ends the session without a word.
package embedded
