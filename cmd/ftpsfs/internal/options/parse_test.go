package options

import (
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/fs"
	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

const hex64 = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

// TestBadCommandLines: each wrong command line has its own message, says what to do, and ends with exit status 1.
func TestBadCommandLines(t *testing.T) {
	u := "ftps://joe@host/"
	cases := []struct {
		args string // split at spaces
		want string // part of the message
	}{
		{"", "the URL is missing"},
		{u, "the mount point is missing"},
		{u + " /m extra", "too many arguments"},
		{"host:/path /m", "write ftps://USER@HOST/PATH"},
		{"nothing /m", "no site called nothing"},
		{"ftp://host/ /m", "would send the password and all files in clear"},
		{"sftp://host/ /m", "use sshfs"},
		{"https://host/ /m", "WebDAV"},
		{"gopher://host/ /m", `unknown kind of URL "gopher"`},
		{"ftps:///path /m", "names no host"},
		{"ftps://host:0/ /m", "port in the URL is no number"},
		{"ftps://host:65536/ /m", "port in the URL is no number"},
		{"ftps://host:/ /m", "port in the URL is no number"},
		{"ftps://::1/ /m", "needs brackets"},
		{"ftps://[::1/ /m", "no IPv6 address"},
		{"ftps://[127.0.0.1]/ /m", "no IPv6 address"},
		{"ftps://300.1.1.1/ /m", "no IPv4 address"},
		{"ftps://-host/ /m", "no host name"},
		{"ftps://joe%zz@host/ /m", "two hexadecimal digits"},
		{"ftps://joe%0d%0aDELE@host/ /m", "FTP cannot carry"},
		{"ftps://host/a%00b /m", "FTP cannot carry"},
		{"ftps://host/a/../b /m", "holds .."},
		{"ftps://:pw@host/ /m", "password without a user name"},
		{u + " ftps://host/", "the mount point is a URL"},
		{"-z " + u + " /m", "unknown flag -z"},
		{"--nope " + u + " /m", "unknown flag --nope"},
		{u + " /m -o", "flag -o needs a value"},
		{"--foreground=perhaps " + u + " /m", "flag --foreground"},
		{"-o cacret=/x " + u + " /m", "did you mean cacert?"},
		{"-o zzzzzzzzzz " + u + " /m", `unknown option "zzzzzzzzzz"; ` + "`ftpsfs help`"},
		{"-o cacert " + u + " /m", "option cacert needs a value; write -o cacert=FILE"},
		{"-o ccc=1 " + u + " /m", "option ccc takes no value"},
		{"-o pin=abc " + u + " /m", "does not begin with sha256:"},
		{"-o pin=sha256:abcd " + u + " /m", "64 hexadecimal digits"},
		{"-o tls=starttls " + u + " /m", "explicit or implicit"},
		{"-o tls_min=1.0 " + u + " /m", `option tls_min: "1.0" is not known: write 1.2 or 1.3`},
		{"-o tls_min=1.3,tls_max=1.2 " + u + " /m", "tls_min is above tls_max"},
		{"-o tls=implicit ftpes://host/ /m", "ftpes:// is explicit TLS"},
		{"-o tls_curves=P256 " + u + " /m", `"P256" is no key exchange: write one or more of P-256`},
		{"-o tls_ciphers=RC4 " + u + " /m", `"RC4" is no cipher suite`},
		{"-o epsv=maybe " + u + " /m", "write no or yes"},
		{"-o max_conns=0 " + u + " /m", "no number from 1 to"},
		{"-o timeout=soon " + u + " /m", `option timeout: "soon" is no time`},
		{"-o timeout=0 " + u + " /m", "would give up at once"},
		{"-o attr_ttl=-1s " + u + " /m", "is no time"},
		{"-o stage_size=ten " + u + " /m", "is no size"},
		{"-o cache_mem=1K " + u + " /m", "at least 8M"},
		{"-o cache_dir=/x " + u + " /m", "disk cache is not built yet"},
		{"-o writeback " + u + " /m", "write-back is not built yet"},
		{"-o key=/k " + u + " /m", "key without cert"},
		{"-o prot=S " + u + " /m", "write C or P"},
		{"-o ccc,prot=C " + u + " /m", "nothing but the login"},
		{"-o trust=maybe " + u + " /m", "ask or ca or tofu"},
		{"-o insecure_skip_verify,pin=sha256:" + hex64 + " " + u + " /m", "exclude each other"},
		{"-o insecure_skip_verify,cacert=/x " + u + " /m", "exclude each other"},
		{"-o insecure_skip_verify,trust=tofu " + u + " /m", "exclude each other"},
		{"-o active_ports=5000-6000 " + u + " /m", "add mode=active"},
		{"-o active_addr=192.0.2.1 " + u + " /m", "add mode=active"},
		{"-o mode=active,active_ports=9-1 " + u + " /m", "no range of ports"},
		{"-o mode=active,active_addr=home " + u + " /m", "no IP address"},
		{"-o mode=active,pasv_addr=reply " + u + " /m", "leave one of them out"},
		{"-o umask=999 " + u + " /m", "permission bits"},
		{"-o uid=nobody-by-this-name " + u + " /m", "no user of this machine"},
		{"-o gid=4294967295 " + u + " /m", "no group id"},
		{"-o emulate=owner " + u + " /m", "mode, mtime or fallocate"},
		{"-o emulate=mode+ " + u + " /m", "mode, mtime or fallocate"},
		{"-o replace=swap " + u + " /m", "inplace or rename"},
		{"-o verify=maybe " + u + " /m", "hash or none or size"},
		{"-o password=geheim " + u + " /m", "password_file=FILE"},
		{"-o user=joe:geheim " + u + " /m", "password_file=FILE"},
		{"-o remount,ro " + u + " /m", "mount again"},
		{"-o allow_root " + u + " /m", "write allow_other"},
		{"-o ssl " + u + " /m", "TLS is always on"},
		{"-o cert=,key=/k " + u + " /m", "option cert needs a value"},
	}
	for _, c := range cases {
		_, err := ParseMount(strings.Fields(c.args), noSites{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("ftpsfs %s: %v, want %q", c.args, err, c.want)
			continue
		}
		if exitcode.Of(err) != exitcode.Usage {
			t.Errorf("ftpsfs %s: exit status %d", c.args, exitcode.Of(err))
		}
		if strings.Contains(err.Error(), "geheim") || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("ftpsfs %s: message %q", c.args, err)
		}
	}
}

type noSites struct{}

func (noSites) Site(name string) (Site, error) {
	return Site{}, exitcode.NewUsage("no site called "+name, "")
}

func parse(t *testing.T, args ...string) Options {
	t.Helper()
	o, err := ParseMount(args, nil)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return o
}

func TestEveryOption(t *testing.T) {
	p := func(n uint32) *uint32 { return &n }
	base := func(change func(*Options)) Options {
		o := Defaults()
		o.Target = Target{Host: "host", Port: 21}
		o.Mountpoint = "/m"
		change(&o)
		return o
	}
	cases := []struct {
		list string
		want Options
	}{
		{"", base(func(o *Options) {})},
		{"cacert=/ca.pem", base(func(o *Options) { o.Trust.CACert = "/ca.pem" })},
		{`cacert=/a\,b\\c`, base(func(o *Options) { o.Trust.CACert = `/a,b\c` })},
		{"cert=/c", base(func(o *Options) { o.Trust.CertFile, o.Trust.KeyFile = "/c", "/c" })},
		{"key=/k,cert=/c", base(func(o *Options) { o.Trust.CertFile, o.Trust.KeyFile = "/c", "/k" })},
		{"trust=tofu", base(func(o *Options) { o.Trust.Mode = trust.ModeTOFU })},
		{"trust=ask", base(func(o *Options) { o.Trust.Mode = trust.ModeAsk })},
		{"insecure_skip_verify", base(func(o *Options) { o.Trust.Insecure = true })},
		{"tls_min=1.3,tls_max=1.3", base(func(o *Options) { o.Trust.MinVersion, o.Trust.MaxVersion = tls.VersionTLS13, tls.VersionTLS13 })},
		{"tls=explicit", base(func(o *Options) { o.tlsGiven = true })},
		{"tls=implicit", base(func(o *Options) {
			o.tlsGiven, o.TLS, o.Target.Port, o.Target.Implicit = true, session.TLSImplicit, 990, true
		})},
		{"prot=C", base(func(o *Options) { o.ProtClear = true })},
		{"prot=P,ccc", base(func(o *Options) { o.CCC = true })},
		{"password_file=/p,askpass=/a,netrc=/n,account=x", base(func(o *Options) { o.PasswordFile, o.Askpass, o.Netrc, o.Account = "/p", "/a", "/n", "x" })},
		{"max_conns=3,timeout=90,connect_timeout=1500ms", base(func(o *Options) {
			o.MaxConns, o.Timeout, o.ConnectTimeout = 3, 90*time.Second, 1500*time.Millisecond
		})},
		{"mode=active,active_ports=5000-5001,active_addr=192.0.2.1", base(func(o *Options) {
			o.Active, o.ActivePorts, o.ActiveAddr = true, [2]int{5000, 5001}, net.ParseIP("192.0.2.1")
		})},
		{"epsv=no", base(func(o *Options) { o.NoEPSV = true })},
		{"tls_curves=X25519:P-256,tls_ciphers=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", base(func(o *Options) {
			o.Trust.Curves, o.Trust.Ciphers = []tls.CurveID{tls.X25519, tls.CurveP256}, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		})},
		{"mode=passive,pasv_addr=reply", base(func(o *Options) { o.TrustPASVAddress = true })},
		{"ro", base(func(o *Options) { o.ReadOnly = true })},
		{"ro,rw", base(func(o *Options) {})},
		{"allow_other", base(func(o *Options) { o.AllowOther, o.DefaultPermissions = true, true })},
		{"default_permissions", base(func(o *Options) { o.DefaultPermissions = true })},
		{"uid=1000,gid=root,umask=027", base(func(o *Options) { o.UID, o.GID, o.Umask = p(1000), p(0), p(0o27) })},
		{"symlinks=off", base(func(o *Options) { o.Symlinks = fs.SymlinksOff })},
		{"attr_ttl=0,dir_ttl=1m,neg_ttl=2.5", base(func(o *Options) {
			o.AttrTTL, o.DirTTL, o.NegTTL = 0, time.Minute, 2500*time.Millisecond
		})},
		{"emulate=mode+mtime", base(func(o *Options) { o.Emulate = Emulate{Mode: true, ModTime: true} })},
		{"emulate=mtime", base(func(o *Options) { o.Emulate = Emulate{ModTime: true} })},
		{"emulate=fallocate+mtime", base(func(o *Options) { o.Emulate = Emulate{ModTime: true, Allocate: true} })},
		{"replace=inplace,verify=none", base(func(o *Options) { o.Replace, o.Verify = content.ReplaceInPlace, pool.VerifyNone })},
		{"state_dir=/s,stage_size=1.5G,cache_mem=128MiB", base(func(o *Options) {
			o.StateDir, o.StageSize, o.CacheMem = "/s", 3<<29, 128<<20
		})},
		{"noexec,noatime,nodev,suid,exec", base(func(o *Options) { o.Kernel = []string{"noatime"} })},
		{"noauto,user,users,nofail,_netdev,x-systemd.automount,comment=x,user=joe,,defaults,nonempty", base(func(o *Options) {})},
	}
	for _, c := range cases {
		got := parse(t, "ftps://host/", "/m", "-o", c.list)
		if len(got.Kernel) == 0 {
			got.Kernel = nil
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("-o %s\n got %+v\nwant %+v", c.list, got, c.want)
		}
	}
	got := parse(t, "ftps://host/", "/m", "-o", "pin=sha256:"+hex64, "-o", "pin=sha256//ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=")
	if len(got.Trust.Pins) != 2 || !slices.Equal(got.Trust.Pins[0], got.Trust.Pins[1]) {
		t.Errorf("pins %x", got.Trust.Pins)
	}
}

// TestTableIsTested: an option that is added without a line above would go unnoticed.
func TestTableIsTested(t *testing.T) {
	src := testSource(t)
	for _, name := range Names() {
		if !strings.Contains(src, name) {
			t.Errorf("option %s occurs in no test", name)
		}
	}
}

func TestFlagsAnywhere(t *testing.T) {
	for _, args := range [][]string{
		{"-f", "-o", "ro", "ftps://host/", "/m", "-o", "noexec"},
		{"ftps://host/", "/m", "-oro,noexec", "--foreground"},
		{"ftps://host/", "-fo", "ro,noexec", "--", "/m"},
	} {
		if o := parse(t, args...); !o.Foreground || !o.ReadOnly || !slices.Equal(o.Kernel, []string{"noexec"}) {
			t.Errorf("%q: %+v", args, o)
		}
	}
	if o := parse(t, "-d", "ftps://host/", "/m"); !o.Debug || !o.Foreground {
		t.Errorf("-d: %+v", o)
	}
	if _, err := ParseMount([]string{"--help"}, nil); !errors.Is(err, ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

func TestMountHelper(t *testing.T) {
	o, err := ParseMountHelper(strings.Fields("ftps://host/ /m -sfnv -N 123 -o rw,nosuid,gibtsnicht,noexec -t fuse.ftpsfs"), nil)
	if err != nil || !o.Fake || o.Foreground || !o.Verbose || o.Namespace != "123" || !slices.Equal(o.Kernel, []string{"noexec"}) {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := ParseMountHelper(strings.Fields("ftps://host/ /m -o gibtsnicht"), nil); exitcode.Of(err) != exitcode.Usage {
		t.Errorf("unknown option without -s: %v", err)
	}
	if _, err := ParseMountHelper(strings.Fields("ftps://host/ /m -s -o timeout=x"), nil); exitcode.Of(err) != exitcode.Usage {
		t.Errorf("bad value with -s: %v", err)
	}
	if _, err := ParseMountHelper(strings.Fields("ftps://host/ /m -t nfs"), nil); exitcode.Of(err) != exitcode.Usage {
		t.Errorf("type nfs: %v", err)
	}
}

type oneSite Site

func (s oneSite) Site(string) (Site, error) { return Site(s), nil }

func TestSites(t *testing.T) {
	site := oneSite{URL: "ftps://joe@work/", Mountpoint: "/home/joe/work", Options: []string{"ro,timeout=5"}}
	o, err := ParseMount([]string{"work", "-o", "timeout=7"}, site)
	if err != nil || o.Target.Host != "work" || o.Mountpoint != "/home/joe/work" || !o.ReadOnly || o.Timeout != 7*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = ParseMount([]string{"work", "/m"}, site); err != nil || o.Mountpoint != "/m" {
		t.Errorf("%+v, %v", o, err)
	}
	o, how, err := ParseCheck([]string{"--json", "work"}, site)
	if err != nil || !how.JSON || how.Try || o.Target.User != "joe" {
		t.Errorf("check: %+v, %v, %v", o, how, err)
	}
	if _, _, err = ParseCheck([]string{"work", "/m"}, site); exitcode.Of(err) != exitcode.Usage {
		t.Errorf("check with a mount point: %v", err)
	}
}
