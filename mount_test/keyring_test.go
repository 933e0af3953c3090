//go:build linux

package mount_test

import (
	"bufio"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// The names of the Secret Service (specifications.freedesktop.org/secret-service).
const (
	secretBus        = "org.freedesktop.secrets"
	secretPath       = "/org/freedesktop/secrets"
	secretCollection = dbus.ObjectPath(secretPath + "/aliases/default")
	secretSession    = dbus.ObjectPath(secretPath + "/session/1")
	secretNone       = dbus.ObjectPath("/")
)

// secret is how one travels.
type secret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

// item is one secret in the keyring, and the object that tells it.
type item struct {
	attributes map[string]string
	value      []byte
}

// GetSecret is the method of org.freedesktop.Secret.Item.
func (i *item) GetSecret(session dbus.ObjectPath) (secret, *dbus.Error) {
	return secret{session, nil, i.value, "text/plain"}, nil
}

// keyring is a desktop's keyring on a bus of its own, unlocked, for one test.
type keyring struct {
	address string // for DBUS_SESSION_BUS_ADDRESS
	conn    *dbus.Conn

	mu    sync.Mutex
	items []*item // guarded by mu
}

// OpenSession is a method of org.freedesktop.Secret.Service.
func (k *keyring) OpenSession(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	return dbus.MakeVariant(""), secretSession, nil
}

// Unlock finds everything unlocked.
func (k *keyring) Unlock(what []dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	return what, secretNone, nil
}

// Close is the method of org.freedesktop.Secret.Session.
func (k *keyring) Close() *dbus.Error { return nil }

// SearchItems is a method of org.freedesktop.Secret.Collection.
func (k *keyring) SearchItems(wanted map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := []dbus.ObjectPath{}
	for n, i := range k.items {
		if maps.Equal(i.attributes, wanted) {
			found = append(found, itemPath(n))
		}
	}
	return found, nil
}

// CreateItem is a method of org.freedesktop.Secret.Collection.
func (k *keyring) CreateItem(properties map[string]dbus.Variant, s secret, _ bool) (dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	var attributes map[string]string
	if err := properties["org.freedesktop.Secret.Item.Attributes"].Store(&attributes); err != nil {
		return "", "", dbus.MakeFailedError(err)
	}
	return k.add(&item{attributes, s.Value}), secretNone, nil
}

func (k *keyring) add(i *item) dbus.ObjectPath {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.items = append(k.items, i)
	path := itemPath(len(k.items) - 1)
	_ = k.conn.Export(i, path, "org.freedesktop.Secret.Item") // fails for a path that is none
	return path
}

func itemPath(n int) dbus.ObjectPath {
	return secretCollection + dbus.ObjectPath("/"+strings.Repeat("i", n+1))
}

// secrets gives what is kept, by account.
func (k *keyring) secrets() map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[string]string{}
	for _, i := range k.items {
		all[i.attributes["service"]+" "+i.attributes["username"]] = string(i.value)
	}
	return all
}

// startKeyring runs a message bus with a keyring on it until the test ends.
func startKeyring(t *testing.T) *keyring {
	t.Helper()
	tool(t, "dbus-daemon")
	address := "unix:path=" + filepath.Join(lab.Folder(t, "ftpsfs-bus-"), "bus")
	bus := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1", "--address="+address)
	out, err := bus.StdoutPipe()
	must(t, err)
	must(t, bus.Start())
	t.Cleanup(func() {
		_ = bus.Process.Kill()
		_ = bus.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	k := &keyring{address: address}
	k.conn, err = dbus.Connect(address)
	must(t, err)
	t.Cleanup(func() { k.conn.Close() })
	must(t, k.conn.Export(k, secretPath, "org.freedesktop.Secret.Service"))
	must(t, k.conn.Export(k, secretCollection, "org.freedesktop.Secret.Collection"))
	must(t, k.conn.Export(k, secretSession, "org.freedesktop.Secret.Session"))
	if _, err := k.conn.RequestName(secretBus, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return k
}
