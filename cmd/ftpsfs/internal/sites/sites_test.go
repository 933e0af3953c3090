package sites

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSite(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	own := write(t, "# mine\n[work]\nurl = ftps://joe@ftp.example.com/a%20b\nmountpoint = ~/work\noptions = max_conns=4,ro\n"+
		"cacert = /etc/a,b.pem\npassword_file = ~/.pw\nnoexec\n\n[ other ]\nurl=\"ftps://other/\"\n")
	system := write(t, "[work]\nurl = ftps://wrong/\n[third]\nurl = ftps://third/\n")
	f := Files{filepath.Join(t.TempDir(), "none"), own, system}
	got, err := f.Site("work")
	want := options.Site{URL: "ftps://joe@ftp.example.com/a%20b", Mountpoint: "/home/joe/work",
		Options: []string{"max_conns=4,ro", `cacert=/etc/a\,b.pem`, "password_file=/home/joe/.pw", "noexec"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, name := range []string{"other", "third"} {
		if got, err := f.Site(name); err != nil || got.URL != "ftps://"+name+"/" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestBadFiles(t *testing.T) {
	cases := []struct{ text, want string }{
		{"url = x\n", ":1: this line belongs to no section"},
		{"[a\n", ":1: a section is [NAME]"},
		{"[]\n", ":1: a section is [NAME]"},
		{"[a:b]\n", ":1: a section is [NAME]"},
		{"[a]\n[a]\n", ":2: there is a section [a] already"},
		{"[site]\n", ":1: section [site] has no url"},
		{"[site]\nurl = sftp://host/\n", ":2: sftp:// is SSH"},
		{"[site]\nurl = ftps://joe:geheim@host/\n", ":2: the URL holds a password"},
		{"[site]\nurl = ftps://host/\npassword = geheim\n", `:3: option "password" is not one of ftpsfs`},
		{"[site]\nurl = ftps://host/\ncacret = /x\n", "did you mean cacert?"},
		{"[site]\nurl = ftps://host/\ntimeout = soon\n", ":3: option timeout"},
		{"[site]\nurl = ftps://host/\nmountpoint = work\n", ":3: the path is not absolute"},
		{"[other]\nurl = ftps://host/\n", `no site is called "site"`},
		{"[site]\n" + strings.Repeat("x", 100_000), ":2: "},
	}
	for _, c := range cases {
		_, err := Files{write(t, c.text)}.Site("site")
		if err == nil || !strings.Contains(err.Error(), c.want) || exitcode.Of(err) != exitcode.Usage {
			t.Errorf("%.60q: %v, want %q", c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%.60q: the password is shown", c.text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[a]\nurl = x\nro\n# c\n[b]\n\"=\"")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parse(strings.NewReader(s))
		if err != nil && !strings.HasPrefix(err.Error(), ":") {
			t.Fatalf("%q: %v", s, err)
		}
		for _, sec := range list {
			_, _ = sec.site("f")
		}
	})
}

const sitemanager = `<?xml version="1.0"?>
<FileZilla3 version="3.63"><Servers>
 <Server><Host>ftp.example.com</Host><Port>21</Port><Protocol>4</Protocol><User>joe@corp</User>
  <Pass encoding="base64">Z2VoZWlt</Pass><Name>Work / main</Name><RemoteDir>1 0 3 srv 7 my data</RemoteDir>
  <PasvMode>MODE_ACTIVE</PasvMode><MaximumMultipleConnections>3</MaximumMultipleConnections><Account>acc</Account></Server>
 <Folder expanded="1">Old
  <Server><Host>::1</Host><Protocol>3</Protocol><User>ann</User><Pass>plain</Pass>Old name</Server>
  <Server><Host>s</Host><Protocol>1</Protocol><Name>ssh</Name></Server>
 </Folder>
 <Server><Host>p</Host><Protocol>6</Protocol><Name>plain</Name></Server>
 <Server><Host>c</Host><Protocol>0</Protocol><Pass encoding="crypt">xx</Pass><Name>plain</Name><Account>a
[evil]
url = ftps://evil/</Account></Server>
</Servers></FileZilla3>`

func TestFileZilla(t *testing.T) {
	list, err := ReadFileZilla(strings.NewReader(sitemanager))
	if err != nil {
		t.Fatal(err)
	}
	want := []Import{
		{Name: "Work---main", URL: "ftps://joe%40corp@ftp.example.com//srv/my%20data", Host: "ftp.example.com", Port: 21, User: "joe@corp",
			Password: "geheim", Options: []string{"mode=active", "account=acc", "max_conns=3"}},
		{Name: "plain", Host: "p", Skipped: "it is set to plain FTP, without TLS"},
		{Name: "plain-2", URL: "ftps://c/", Host: "c", Port: 21},
		{Name: "Old-Old-name", URL: "ftps://ann@[::1]:990/", Host: "::1", Port: 990, User: "ann", Password: "plain", Options: []string{"tls=implicit"}},
		{Name: "Old-ssh", Host: "s", Skipped: "SFTP is another protocol; use sshfs"},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got  %+v\nwant %+v", list, want)
	}
	file := filepath.Join(t.TempDir(), "new", "config")
	added, err := Append(file, list)
	if err != nil || !reflect.DeepEqual(added, []string{"Work---main", "plain-2", "Old-Old-name"}) {
		t.Fatal(added, err)
	}
	text, _ := os.ReadFile(file)
	if strings.Contains(string(text), "geheim") || strings.Contains(string(text), "Z2Vo") {
		t.Errorf("the file holds a password:\n%s", text)
	}
	if st, _ := os.Stat(file); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	s, err := Files{file}.Site("Work---main")
	if err != nil || s.URL != want[0].URL || len(s.Options) != 3 {
		t.Errorf("read back: %+v, %v", s, err)
	}
	if again, err := Append(file, list); err != nil || again != nil {
		t.Errorf("a second import adds %v, %v", again, err)
	}
}

func FuzzReadFileZilla(f *testing.F) {
	f.Add(sitemanager)
	f.Add("<FileZilla3><Servers><Server><RemoteDir>1 0 9999999999 x</RemoteDir></Server></Servers></FileZilla3>")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ReadFileZilla(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, i := range list {
			if i.URL == "" {
				continue
			}
			if _, err := options.ParseTarget(i.URL); err != nil {
				t.Fatalf("%+v: %v", i, err)
			}
			if strings.ContainsAny(i.Name, "[]\n") {
				t.Fatalf("name %q", i.Name)
			}
		}
	})
}
