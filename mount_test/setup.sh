#!/usr/bin/env bash
# Prepares a Debian machine for the tests in mount_test: the FTPS servers, the FUSE tools and the programs that the
# tests run on a mount. Idempotent, and quick when everything is there.
#
#   setup.sh          what `make test` needs
#   setup.sh long     also the backup programs that `make test-long` drives
#   setup.sh demo     only what a mount needs
#
# FTPSFS_LAB names the folder for the servers that cannot be installed side by side (default /opt/ftpsfs-lab).
set -euo pipefail

LAB=${FTPSFS_LAB:-/opt/ftpsfs-lab}
ACCOUNT=ftpsfstest # owns the served files; may log in to the test servers and nowhere else
MOUNTER=ftpsfsuser # an ordinary user who mounts with fusermount3
what=${1:-test}

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

case $what in test | long | demo) ;; *) die "usage: setup.sh [test|long|demo]" ;; esac
[[ $(uname -s) == Linux ]] || die "the tests mount with Linux FUSE; this is $(uname -s)"
if [[ $what == demo && -r /dev/fuse && -w /dev/fuse ]] && command -v fusermount3 >/dev/null; then
	exit 0 # nothing is missing, so nobody needs to be root
fi
[[ $EUID -eq 0 ]] || die "must run as root (installs packages, makes devices and test accounts): sudo $0 $*"
command -v apt-get >/dev/null || die "knows only Debian's apt-get; install the servers named in this file by hand"
export DEBIAN_FRONTEND=noninteractive

updated=
update_once() {
	[[ -n $updated ]] && return
	say "updating the package lists"
	apt-get update -qq || die "apt-get update failed: no network, or no package sources"
	updated=1
}

# need PROGRAM PACKAGE...: installs the packages when the program (or file) is missing.
missing=()
need() {
	local probe=$1
	shift
	if [[ $probe == /* ]]; then [[ -e $probe ]] && return; else command -v "$probe" >/dev/null && return; fi
	missing+=("$@")
}

need fusermount3 fuse3
if [[ $what != demo ]]; then
	need proftpd proftpd-core
	need /usr/lib/proftpd/mod_tls.so proftpd-mod-crypto
	need /usr/lib/x86_64-linux-gnu/libwrap.so.0 libwrap0
	need openssl openssl
	need dbus-daemon dbus-daemon
	need rsync rsync
	need curl curl
	need lftp lftp
	need setpriv util-linux
	need ip iproute2
	need zip zip
	need git git
	need sqlite3 sqlite3
	need /etc/ssl/certs/ca-certificates.crt ca-certificates
fi
if [[ $what == long ]]; then
	need restic restic
	need borg borgbackup
	need vim vim-tiny
	need unzip unzip
	need nft nftables
fi
if [[ $(dpkg --print-architecture) != amd64 ]]; then # libwrap's folder has the machine's name in it
	ldconfig -p | grep -q libwrap.so.0 && missing=("${missing[@]/libwrap0/}")
fi
read -ra missing <<<"${missing[*]:-}"

if ((${#missing[@]})); then
	update_once
	say "installing ${missing[*]}"
	# The ProFTPD package would start a server on port 21: keep every service from starting meanwhile.
	policy=/usr/sbin/policy-rc.d
	made_policy=
	if [[ ! -e $policy ]]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		made_policy=1
	fi
	trap '[[ -n $made_policy ]] && rm -f "$policy"' EXIT
	apt-get install -y -qq --no-install-recommends "${missing[@]}" >"/tmp/ftpsfs-setup.$$.log" 2>&1 ||
		{ tail -n 20 "/tmp/ftpsfs-setup.$$.log" >&2; die "apt-get install failed, whole log in /tmp/ftpsfs-setup.$$.log"; }
	rm -f "/tmp/ftpsfs-setup.$$.log"
	[[ -n $made_policy ]] && rm -f "$policy"
	trap - EXIT
fi

# The three servers' packages exclude each other, so two of them are unpacked instead of installed.
if [[ $what != demo && ! (-x $LAB/usr/sbin/vsftpd && -x $LAB/usr/sbin/pure-ftpd && -x $LAB/usr/bin/pure-pw) ]]; then
	update_once
	say "unpacking vsftpd and pure-ftpd into $LAB"
	mkdir -p "$LAB"
	tmp=$(mktemp -d)
	chmod 755 "$tmp"
	(cd "$tmp" && apt-get download -qq vsftpd pure-ftpd pure-ftpd-common) 2>"$tmp/log" ||
		{ cat "$tmp/log" >&2; die "cannot download vsftpd and pure-ftpd"; }
	for deb in "$tmp"/*.deb; do dpkg -x "$deb" "$LAB"; done
	rm -rf "$tmp"
	for program in vsftpd pure-ftpd; do
		lacking=$(ldd "$LAB/usr/sbin/$program" | awk '/not found/ {print $1}')
		[[ -z $lacking ]] || die "$program lacks the libraries: $lacking"
	done
fi

# A FUSE device that ordinary users may open, and leave to say allow_other.
if [[ ! -e /dev/fuse ]]; then
	modprobe fuse 2>/dev/null || mknod /dev/fuse c 10 229 || die "no /dev/fuse: the kernel has no FUSE, or this container hides it"
fi
[[ $(stat -c %a /dev/fuse) == 666 ]] || chmod 666 /dev/fuse
grep -qx user_allow_other /etc/fuse.conf 2>/dev/null || echo user_allow_other >>/etc/fuse.conf

[[ $what == demo ]] && exit 0

# For a network line with a round trip (mount_test/wire).
if [[ ! -e /dev/net/tun ]]; then
	mkdir -p /dev/net
	modprobe tun 2>/dev/null || mknod /dev/net/tun c 10 200 || die "no /dev/net/tun: the kernel has no TUN, or this container hides it"
fi

# The account of the servers, with a password of this machine only: vsftpd asks PAM for it.
nologin=$(command -v nologin || echo /bin/false)
id "$ACCOUNT" >/dev/null 2>&1 || useradd --system --no-create-home --home-dir / --shell "$nologin" "$ACCOUNT" # vsftpd wants the home to exist
id "$MOUNTER" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$MOUNTER"
if [[ ! -s $LAB/password ]]; then
	(umask 077 && openssl rand -hex 12 >"$LAB/password")
fi
if [[ ! $LAB/.password-set -nt $LAB/password || $(getent shadow "$ACCOUNT" | cut -d: -f2) != \$* ]]; then
	printf '%s:%s\n' "$ACCOUNT" "$(cat "$LAB/password")" | chpasswd
	touch "$LAB/.password-set"
fi
pam=/etc/pam.d/ftpsfs-lab
[[ -f $pam ]] || printf 'auth required pam_unix.so nodelay\naccount required pam_unix.so\nsession required pam_permit.so\n' >"$pam"
