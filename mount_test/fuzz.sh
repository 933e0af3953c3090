#!/bin/sh
# fuzz.sh TIME: runs every fuzz target of the project for TIME each, as many at once as there are cores.
set -eu
cd "$(dirname "$0")/.."
time=${1:-30s}
jobs=$(nproc)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# One line a target: package directory and name.
grep -rlE '^func Fuzz[A-Za-z0-9_]+\(f \*testing\.F\)' --include='*_test.go' . |
	while read -r file; do
		sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(f \*testing\.F\).*/\1/p' "$file" |
			while read -r name; do echo "$(dirname "$file") $name"; done
	done | sort -u >"$logs/targets"
[ -s "$logs/targets" ] || { echo "fuzz: no targets found" >&2; exit 1; }
export time logs
xargs -P "$jobs" -L 1 sh -c '
	log=$logs/$(echo "$0-$1" | tr / _)
	if go test "$0" -run "^$" -fuzz "^$1\$" -fuzztime "$time" -parallel 1 >"$log" 2>&1; then
		echo "fuzz ok   $0 $1: $(grep -o "execs: [0-9]*" "$log" | tail -n 1)"
	else
		echo "fuzz FAIL $0 $1"; tail -n 60 "$log"; exit 255
	fi' <"$logs/targets"
