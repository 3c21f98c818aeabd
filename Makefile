# The names people try; all of them lead to ./dev.
.PHONY: deps build run test test-cover lint fmt image-build clean help
deps: ; ./dev deps all
build: ; ./dev build release
run: ; ./dev run
test: ; ./dev test
test-cover: ; ./dev cover
lint: ; ./dev lint
fmt: ; ./dev fmt
image-build: ; ./dev image
clean: ; ./dev clean
help: ; ./dev help
