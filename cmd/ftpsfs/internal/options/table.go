package options

import (
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/fs"
	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

// row is one -o option. Exactly one of flag and value is set.
type row struct {
	name  string
	arg   string // what help writes after the name: "=FILE"
	help  string
	flag  func(o *Options)
	value func(o *Options, v string) error
}

// into makes the value function of a row from a reader and a place to store.
func into[T any](read func(string) (T, error), store func(o *Options, v T)) func(*Options, string) error {
	return func(o *Options, s string) error {
		v, err := read(s)
		if err == nil {
			store(o, v)
		}
		return err
	}
}

// words makes a reader of a fixed set of words.
func words[T any](m map[string]T) func(string) (T, error) {
	list := strings.Join(slices.Sorted(maps.Keys(m)), " or ")
	return func(s string) (T, error) { return oneOf(s, m, list) }
}

// file reads the name of a file and makes it absolute, as the background process works in /.
func file(s string) (string, error) {
	if s == "" {
		return "", errors.New("the file name is missing")
	}
	return absolute(s)
}

// within reads a number between lo and hi.
func within(lo, hi int) func(string) (int, error) {
	return func(s string) (int, error) { return number(s, lo, hi) }
}

// sizeFrom reads a size of at least low bytes.
func sizeFrom(low int64, text string) func(string) (int64, error) {
	return func(s string) (int64, error) { return atLeast(s, low, text) }
}

var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// table holds every option of ours, in the order that help shows them.
var table = []row{
	{name: "cacert", arg: "=FILE", help: "CA certificates to trust in place of the system's (a file or a folder)",
		value: into(file, func(o *Options, v string) { o.Trust.CACert = v })},
	{name: "pin", arg: "=sha256:HEX", help: "accept exactly this server key, whatever signed it; may be repeated",
		value: into(pin, func(o *Options, v []byte) { o.Trust.Pins = append(o.Trust.Pins, v) })},
	{name: "cert", arg: "=FILE", help: "client certificate",
		value: into(file, func(o *Options, v string) { o.Trust.CertFile = v })},
	{name: "key", arg: "=FILE", help: "key of the client certificate",
		value: into(file, func(o *Options, v string) { o.Trust.KeyFile = v })},
	{name: "trust", arg: "=ca|tofu|ask", help: "believe a CA (default), the first certificate seen, or ask",
		value: into(words(map[string]trust.Mode{"ca": trust.ModeCA, "tofu": trust.ModeTOFU, "ask": trust.ModeAsk}),
			func(o *Options, v trust.Mode) { o.Trust.Mode = v })},
	{name: "insecure_skip_verify", help: "no certificate check: anybody on the way can read everything",
		flag: func(o *Options) { o.Trust.Insecure = true }},
	{name: "tls", arg: "=explicit|implicit", help: "how TLS starts",
		value: into(words(map[string]session.TLSMode{"explicit": session.TLSExplicit, "implicit": session.TLSImplicit}),
			func(o *Options, v session.TLSMode) { o.TLS, o.tlsGiven = v, true })},
	{name: "tls_min", arg: "=1.2|1.3", help: "lowest TLS version",
		value: into(words(tlsVersions), func(o *Options, v uint16) { o.Trust.MinVersion = v })},
	{name: "tls_max", arg: "=1.2|1.3", help: "highest TLS version",
		value: into(words(tlsVersions), func(o *Options, v uint16) { o.Trust.MaxVersion = v })},
	{name: "tls_curves", arg: "=NAME:NAME...", help: "key exchanges to offer, for peers that stall on a large ClientHello: X25519:P-256",
		value: into(curves, func(o *Options, v []tls.CurveID) { o.Trust.Curves = v })},
	{name: "tls_ciphers", arg: "=NAME:NAME...", help: "cipher suites of TLS 1.2 to offer; those of 1.3 are all good and fixed",
		value: into(ciphers, func(o *Options, v []uint16) { o.Trust.Ciphers = v })},
	{name: "prot", arg: "=P|C", help: "protection of data channels; C sends files in clear",
		value: into(words(map[string]bool{"P": false, "C": true}), func(o *Options, v bool) { o.ProtClear = v })},
	{name: "ccc", help: "control channel in clear after the login",
		flag: func(o *Options) { o.CCC = true }},

	{name: "password_file", arg: "=FILE", help: "the first line is the password; others must not be able to read it",
		value: into(file, func(o *Options, v string) { o.PasswordFile = v })},
	{name: "askpass", arg: "=PROGRAM", help: "a program that prints the password",
		value: into(file, func(o *Options, v string) { o.Askpass = v })},
	{name: "netrc", arg: "=FILE", help: "in place of ~/.netrc",
		value: into(file, func(o *Options, v string) { o.Netrc = v })},
	{name: "account", arg: "=NAME", help: "for servers that ask for an account (ACCT)",
		value: into(account, func(o *Options, v string) { o.Account = v })},

	{name: "max_conns", arg: "=N", help: "most connections to use (8)",
		value: into(within(1, 256), func(o *Options, v int) { o.MaxConns = v })},
	{name: "timeout", arg: "=30s", help: "how long an operation waits without progress",
		value: into(positive, func(o *Options, v time.Duration) { o.Timeout = v })},
	{name: "connect_timeout", arg: "=10s", help: "the same for connecting",
		value: into(positive, func(o *Options, v time.Duration) { o.ConnectTimeout = v })},
	{name: "mode", arg: "=passive|active", help: "who opens data connections",
		value: into(words(map[string]bool{"passive": false, "active": true}), func(o *Options, v bool) { o.Active = v })},
	{name: "epsv", arg: "=yes|no", help: "no: PASV and PORT in place of EPSV and EPRT, where these are refused by a firewall (IPv4)",
		value: into(words(map[string]bool{"yes": false, "no": true}), func(o *Options, v bool) { o.NoEPSV = v })},
	{name: "active_ports", arg: "=LO-HI", help: "ports to listen on in active mode",
		value: into(ports, func(o *Options, v [2]int) { o.ActivePorts = v })},
	{name: "active_addr", arg: "=ADDR", help: "address to tell the server in active mode",
		value: into(address, func(o *Options, v net.IP) { o.ActiveAddr = v })},
	{name: "pasv_addr", arg: "=control|reply", help: "data goes to the address of the control connection, or to the one in the server's reply",
		value: into(words(map[string]bool{"control": false, "reply": true}), func(o *Options, v bool) { o.TrustPASVAddress = v })},

	{name: "ro", help: "read only", flag: func(o *Options) { o.ReadOnly = true }},
	{name: "rw", help: "read and write (default)", flag: func(o *Options) { o.ReadOnly = false }},
	{name: "allow_other", help: "other users may use the mount, within its permission bits",
		flag: func(o *Options) { o.AllowOther = true }},
	{name: "default_permissions", help: "the kernel checks permission bits; it does so in any case",
		flag: func(o *Options) { o.DefaultPermissions = true }},
	{name: "uid", arg: "=ID", help: "owner of all files",
		value: into(uid, func(o *Options, v *uint32) { o.UID = v })},
	{name: "gid", arg: "=ID", help: "group of all files",
		value: into(gid, func(o *Options, v *uint32) { o.GID = v })},
	{name: "umask", arg: "=OCTAL", help: "permission bits to take away",
		value: into(octal, func(o *Options, v *uint32) { o.Umask = v })},
	{name: "symlinks", arg: "=contain|raw|off", help: "links that lead out of the mount: refused (default), as they are, or no links at all",
		value: into(words(map[string]fs.Symlinks{"contain": fs.SymlinksContain, "raw": fs.SymlinksRaw, "off": fs.SymlinksOff}),
			func(o *Options, v fs.Symlinks) { o.Symlinks = v })},
	{name: "attr_ttl", arg: "=10s", help: "how long attributes are believed",
		value: into(duration, func(o *Options, v time.Duration) { o.AttrTTL = v })},
	{name: "dir_ttl", arg: "=10s", help: "how long listings are believed",
		value: into(duration, func(o *Options, v time.Duration) { o.DirTTL = v })},
	{name: "neg_ttl", arg: "=5s", help: "how long absences are believed",
		value: into(duration, func(o *Options, v time.Duration) { o.NegTTL = v })},

	{name: "replace", arg: "=rename|inplace", help: "new content is written beside the file and renamed over it, or in place",
		value: into(words(map[string]content.Replace{"rename": content.ReplaceRename, "inplace": content.ReplaceInPlace}),
			func(o *Options, v content.Replace) { o.Replace = v })},
	{name: "verify", arg: "=size|hash|none", help: "what close() and fsync() compare with the server's copy",
		value: into(words(map[string]pool.Verify{"size": pool.VerifySize, "hash": pool.VerifyHash, "none": pool.VerifyNone}),
			func(o *Options, v pool.Verify) { o.Verify = v })},
	{name: "emulate", arg: "=mode+mtime", help: "keep modes, times or both on this machine where the server cannot set them; +fallocate: accept it",
		value: into(parseEmulate, func(o *Options, v Emulate) { o.Emulate = v })},
	{name: "state_dir", arg: "=DIR", help: "staging files, journal, what was learned of servers",
		value: into(file, func(o *Options, v string) { o.StateDir = v })},
	{name: "stage_size", arg: "=10G", help: "most local space for staging",
		value: into(sizeFrom(1<<20, "1M"), func(o *Options, v int64) { o.StageSize = v })},
	{name: "cache_mem", arg: "=64M", help: "all file data in memory",
		value: into(sizeFrom(8<<20, "8M"), func(o *Options, v int64) { o.CacheMem = v })},
}

// later are options that are promised and not built: refused, so that nobody believes to have them.
var later = map[string]string{
	"cache_dir":  "a disk cache is not built yet; leave it out, cache_mem is the cache in memory",
	"cache_size": "a disk cache is not built yet; leave it out, cache_mem is the cache in memory",
	"writeback":  "write-back is not built yet; leave it out, close() returns when the server has the data",
}

// foreign are options of other programs and of mount(8) that would mean something here, with what to write instead.
var foreign = map[string]string{
	"remount":          "a running mount cannot change its options: `ftpsfs umount` it and mount again",
	"bind":             "write the mount point of the bind in a line of its own, with type none",
	"rbind":            "write the mount point of the bind in a line of its own, with type none",
	"move":             "use mount --move",
	"allow_root":       "write allow_other",
	"auto_unmount":     "leave it out: a mount that died is cleaned up by the next one",
	"fsname":           "leave it out: the URL is the name",
	"subtype":          "leave it out: it is always ftpsfs",
	"reconnect":        "leave it out: ftpsfs always connects again",
	"ssl":              "leave it out: TLS is always on",
	"no_verify_peer":   "write insecure_skip_verify if you mean it, or cacert=FILE or pin=sha256:HEX, which are safe",
	"no_check_cert":    "write insecure_skip_verify if you mean it, or cacert=FILE or pin=sha256:HEX, which are safe",
	"tlsv1":            "leave it out: TLS 1.2 is the lowest, see tls_min",
	"password":         "other users can read it in the process list: write password_file=FILE",
	"pass":             "other users can read it in the process list: write password_file=FILE",
	"identityfile":     "that is SSH: for a client certificate write cert=FILE,key=FILE",
	"port":             "write the port in the URL: ftps://HOST:PORT/",
	"password_stdin":   "write password_file=FILE or askpass=PROGRAM",
	"foreground":       "write -f in place of -o foreground",
	"debug":            "write -d in place of -o debug",
	"kernel_cache":     "leave it out: files that did not change stay in the kernel's cache",
	"auto_cache":       "leave it out: files that did not change stay in the kernel's cache",
	"max_read":         "leave it out: it is the largest that the kernel takes",
	"max_write":        "leave it out: it is the largest that the kernel takes",
	"cache":            "write cache_mem=SIZE, attr_ttl=TIME and dir_ttl=TIME",
	"vfs-cache-mode":   "leave it out: files that are changed in the middle are staged by themselves, see state_dir",
	"credentials":      "write password_file=FILE, whose first line is the password",
	"entry_timeout":    "write dir_ttl=TIME",
	"attr_timeout":     "write attr_ttl=TIME",
	"negative_timeout": "write neg_ttl=TIME",
}

// ignored are mount(8)'s and libfuse's options that do not concern a file system of this kind.
var ignored = map[string]bool{
	"auto": true, "noauto": true, "user": true, "nouser": true, "users": true, "owner": true, "noowner": true,
	"group": true, "nogroup": true, "nofail": true, "_netdev": true, "_rnetdev": true, "defaults": true, "async": true,
	"exec": true, "dev": true, "nodev": true, "suid": true, "nosuid": true, "atime": true, "diratime": true, "relatime": true,
	"norelatime": true, "strictatime": true, "nostrictatime": true, "lazytime": true, "nolazytime": true, "mand": true,
	"nomand": true, "iversion": true, "noiversion": true, "loud": true, "silent": true, "nonempty": true,
	"big_writes": true, "large_read": true, "hard_remove": true, "splice_read": true, "splice_write": true, "splice_move": true,
	"private": true, "rprivate": true, "shared": true, "rshared": true, "slave": true, "rslave": true, "unbindable": true,
	"runbindable": true, "comment": true, "uhelper": true, "helper": true, "quiet": true, "symfollow": true,
}

// kernel are options that the kernel's mount takes, with the option that undoes each.
var kernel = map[string]string{
	"noexec": "exec", "noatime": "atime", "nodiratime": "diratime", "sync": "async", "dirsync": "", "nosymfollow": "symfollow",
}

// names lists every option that can be meant, for the suggestion after a typing error.
func names() []string {
	var all []string
	for _, r := range table {
		all = append(all, r.name)
	}
	all = slices.AppendSeq(all, maps.Keys(ignored))
	all = slices.AppendSeq(all, maps.Keys(kernel))
	slices.Sort(all) // so that of two equally near names it is always the same
	return all
}
