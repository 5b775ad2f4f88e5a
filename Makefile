# The commands of this repository. `make help` lists them.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
STACK := deploy/stack/stack

.DEFAULT_GOAL := help
.PHONY: help run up down token pids psql logs build deb test test-uploads test-install chaos cluster cluster-down cluster-status cluster-chaos cluster-growth test-cover test-race test-relay fuzz lint format docs bench clean

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 } \
		/^##v / { sub(/^##v /, ""); print }' Makefile

run: ## build and start everything here, stop it with Ctrl-C
	@exec $(STACK) run

up: ## the same in the background; returns when a message can be sent
	@exec $(STACK) up

down: ## stop the stack
	@exec $(STACK) down

token: ## print a JWT: USER_ID=<id> TTL=<seconds>
	@exec $(STACK) token

pids: ## list every process of the stack: name, master or worker, PID
	@exec $(STACK) pids

psql: ## open psql on the stack's database
	@exec $(STACK) psql

logs: ## follow all logs; LINES=20: begin with 20 old lines
	@exec $(STACK) logs

build: ## release build
	@deploy/stack/packages
	@deploy/stack/build -c release

deb: ## Debian packages in .build-deb/packages: chat-server, and its debug symbols
	@deploy/stack/packages debhelper lintian
	@exec deploy/package/deb

test: ## unit, integration and end-to-end tests in a private stack; LOAD_SECONDS=15, FILTER=name, THOROUGH=1
	@exec deploy/test/run

test-uploads: ## upload 200 files during faults, and one of 1 GiB; about half an hour
	@UPLOAD_ROUNDS=$${UPLOAD_ROUNDS:-200} UPLOAD_MIB=$${UPLOAD_MIB:-1024} PYTEST_ADDOPTS=-s FILTER=test_uploads \
		exec deploy/test/run

test-install: ## as root: the packages on a Debian of their own with systemd; install, upgrade under load, purge
	@exec deploy/install/run

chaos: ## kill, stop and freeze everything while people write; MINUTES=5 SEED=1 FREEZE_SECONDS=30
	@exec deploy/test/chaos

cluster: ## as root: three hosts in network namespaces with replicated servers, and one nginx (docs/cluster.md)
	@exec deploy/cluster/cluster up

cluster-down: ## stop them
	@exec deploy/cluster/cluster down

cluster-status: ## the servers of each host
	@exec deploy/cluster/cluster status

cluster-growth: ## one host of the cluster becomes three while people write (docs/capacity.md)
	@exec deploy/cluster/chaos growth

cluster-chaos: ## kill, freeze and cut off hosts and servers of the cluster while people write; MINUTES=5 SEED=1
	@exec deploy/cluster/chaos

test-cover: ## the unit and integration tests with a table of covered lines
	@exec deploy/test/cover

test-race: ## the unit tests with the thread sanitizer, or SANITIZER=address; FILTER=name
	@exec deploy/test/race

test-relay: ## random operations on the relay's tables, with new seeds; RANDOM_SECONDS=1800, RANDOM_SEED=7 for one
	@exec deploy/test/relay

fuzz: ## fuzz the parsers of untrusted input with libFuzzer; FUZZ_SECONDS=60 each
	@exec deploy/test/fuzz

lint: ## check formatting, shell scripts, wording of comments, layers
	@exec deploy/test/lint

format: ## format the code
	@swift format --in-place --recursive --parallel Package.swift Sources Tests Benchmarks

docs: ## write docs/index.html and the table of docs/host.md from docs/openapi.yaml and docs/asyncapi.yaml, and docs/settings.md
	@deploy/stack/packages
	@deploy/stack/venv deploy/test/requirements.txt
	@.venv/bin/python deploy/docs/page
	@.venv/bin/python deploy/docs/scopes
	@deploy/docs/settings > docs/settings.md

bench: ## measure the running stack
	@exec deploy/test/bench

clean: ## stop, and remove data, logs and build output
	@$(STACK) clean
	@rm -rf .build .build-* .venv .venv.lock

##v
##v Variables, before or after the target: make up CHAT_PORT=9000
##v   CHAT_PORT=8000        HTTP and WebSocket; the servers take ports above it, or the next that are free. `free`: any
##v   CHAT_AMQP_PORT CHAT_S3_PORT CHAT_EPMD_PORT CHAT_ERLANG_PORT   one of those ports, exactly
##v   CHAT_DIR=.run         the folder of data, logs and settings: another one is another stack beside the first
##v   CHAT_BIN=             programs that are built already, instead of a build
##v   CHAT_UPLOAD_LIMIT=24m the largest upload request that nginx accepts
##v   LOG_LEVEL, FCGI_*, WS_*, WORKER_*, ROOM_*, JWT_*, FCM_* …   settings for the programs, see .env.example
