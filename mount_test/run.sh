#!/bin/sh
# run.sh ci|long|bench: the test runs behind `make test`, `make test-long` and `make bench`.
set -eu
cd "$(dirname "$0")/.."
FTPSFS_BIN=$PWD/bin/ftpsfs
export FTPSFS_BIN
step() { printf '\n== %s (%s)\n' "$*" "$(date +%T)"; }

case ${1:-ci} in
ci)
	step "unit tests, race detector"
	go test -race -timeout 10m ./cmd/... ./fs/... ./cache/... ./pool/...
	step "fuzzing, 30 s a target"
	sh mount_test/fuzz.sh 30s
	step "the built binary on real servers"
	go test -timeout 18m ./mount_test/...
	;;
long)
	FTPSFS_LONG=1
	export FTPSFS_LONG
	step "unit tests, race detector, ten times"
	go test -race -count=10 -timeout 60m ./cmd/... ./fs/... ./cache/... ./pool/...
	step "fuzzing, 10 min a target"
	sh mount_test/fuzz.sh 10m
	step "the built binary on real servers, full figures"
	go test -timeout 300m ./mount_test/...
	;;
bench)
	go test -run '^$' -bench . -benchtime 1x -timeout 120m ./mount_test/...
	;;
*)
	echo "usage: run.sh ci|long|bench" >&2
	exit 1
	;;
esac
