# The entry points. `make run`, then open the printed address.
#   LISTEN=0.0.0.0:8080   where to listen
#   ARGS="--limits off"   further flags of `natter serve`

LISTEN ?= 127.0.0.1:8080
ARGS ?=
BUILT := web/dist/.built
WEB_SOURCES := $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -path web/e2e -prune \
	-o -path web/test-results -prune -o -type f -print)

.PHONY: run test test-full lint web bench services

run: web
	cargo build --locked --release --bin natter
	exec target/release/natter serve --listen $(LISTEN) $(ARGS)

web: $(BUILT)

$(BUILT): $(WEB_SOURCES)
	scripts/web
	@touch $@

test:
	scripts/test

test-full:
	scripts/test --full

lint:
	scripts/test fmt clippy web deny

bench: web
	scripts/bench $(ARGS)

services:
	scripts/services start
