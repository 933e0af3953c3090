# What a newcomer needs: `make demo`, `make test`. What a maintainer needs: the rest.
GO      ?= go
BIN     := bin/ftpsfs
TOOLS   := $(CURDIR)/.tools
LINT    := $(TOOLS)/golangci-lint
LINT_V  := v2.6.2
FUZZ    ?= 30s
VULNDB  ?= https://vuln.go.dev
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: build demo test test-long lint vet fuzz bench setup setup-demo setup-long install vulncheck clean

build:
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/ftpsfs
	ln -sf ftpsfs bin/mount.ftpsfs

## demo: an embedded FTPS server, mounted: nothing else needed
demo: setup-demo build
	$(BIN) demo

## test: everything that CI runs; installs the servers and tools it needs (as root on Debian)
test: setup vet lint build
	sh mount_test/run.sh ci

## test-long: the full figures: all seeds, soak, long fuzzing
test-long: setup-long vet lint build
	sh mount_test/run.sh long

vet:
	$(GO) vet ./...
	GOOS=darwin $(GO) build ./... && GOOS=darwin $(GO) vet ./...

lint: $(LINT)
	$(LINT) run ./...

$(LINT):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_V)

fuzz:
	sh mount_test/fuzz.sh $(FUZZ)

bench: setup-long build
	sh mount_test/run.sh bench

## vulncheck: for whoever can reach the vulnerability database, or has a copy of it (VULNDB=file:///...)
vulncheck:
	GOBIN=$(TOOLS) $(GO) install golang.org/x/vuln/cmd/govulncheck@v1.8.0
	$(TOOLS)/govulncheck -db $(VULNDB) ./...

setup:
	bash mount_test/setup.sh test

setup-demo:
	bash mount_test/setup.sh demo

setup-long:
	bash mount_test/setup.sh long

install: build
	install -D -m 0755 $(BIN) $(DESTDIR)/usr/local/bin/ftpsfs
	ln -sf ../local/bin/ftpsfs $(DESTDIR)/usr/sbin/mount.ftpsfs
	ln -sf ../local/bin/ftpsfs $(DESTDIR)/usr/sbin/mount.fuse.ftpsfs
	install -D -m 0644 docs/man/ftpsfs.1 $(DESTDIR)/usr/local/share/man/man1/ftpsfs.1

clean:
	rm -rf bin .tools
