#!/bin/sh
# fuzz.sh TIME [NAME...]: runs every fuzz target of the project, or those named, for TIME each, two at once for each core.
set -eu
cd "$(dirname "$0")/.."
time=${1:-30s}
[ $# = 0 ] || shift
jobs=$((2 * $(nproc)))
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# One line a target: package directory and name.
grep -rlE '^func Fuzz[A-Za-z0-9_]+\(f \*testing\.F\)' --include='*_test.go' . |
	while read -r file; do
		sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(f \*testing\.F\).*/\1/p' "$file" |
			while read -r name; do echo "$(dirname "$file") $name"; done
	done | sort -u >"$logs/targets"
for name; do grep " $name\$" "$logs/targets"; done >"$logs/named"
[ $# = 0 ] || mv "$logs/named" "$logs/targets"
[ -s "$logs/targets" ] || { echo "fuzz: no targets found" >&2; exit 1; }
export time logs
# By default go spends up to a minute on making each new input shorter, which is most of the time: 20 runs have to do.
# The engine of go before 1.27 sometimes reports that its time is over as a failure (golang/go#75804). That one is told by
# its text, and by there being no input that fails and no panic.
xargs -P "$jobs" -L 1 sh -c '
	log=$logs/$(echo "$0-$1" | tr / _)
	if go test "$0" -run "^$" -fuzz "^$1\$" -fuzztime "$time" -fuzzminimizetime 20x -parallel 1 >"$log" 2>&1 ||
		{ grep -qx "    context deadline exceeded" "$log" && ! grep -qE "Failing input written|panic|_test.go:" "$log"; }; then
		echo "fuzz ok   $0 $1: $(grep -o "execs: [0-9]*" "$log" | tail -n 1)"
	else
		echo "fuzz FAIL $0 $1"; tail -n 60 "$log"; exit 255
	fi' <"$logs/targets"
