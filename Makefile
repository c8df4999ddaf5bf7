# Names for the commands that people type; each calls a script or cargo and does nothing else.
# `make` lists them.

CLOUD ?= simulator
TIERS ?=
export KEEP

.PHONY: help demo test bench crds servers-up servers-down clean-cache

help:
	@printf '%s\n' \
	  'make demo               one alert, one host: shows a drain from the alert to the empty host, with a simulated cloud' \
	  'make demo CLOUD=nova    the same with a real Nova, a real Suricata and a real packet' \
	  'make demo CLOUD=own CONTEXT=... OS_CLOUD=... HOST=...    your own cluster and cloud: shows the plan, and does nothing' \
	  '     ... KEEP=1         leaves everything running, and says how to look around and how to stop it' \
	  'make test               all tests; make test TIERS="unit control-plane" only some tiers (unit control-plane nova sensor)' \
	  'make bench              figures beside their targets, with optimised programs' \
	  'make crds               writes crds/ anew from src/api' \
	  'make release-record     keeps the kinds and admission policies of this version, which later ones are compared with' \
  'make servers-up         starts a control plane, a real Nova and a Suricata for you; SERVERS="kubernetes" only some' \
	  'make servers-down       stops them' \
	  'make clean-cache        removes what all of these keep outside this folder'

# given NAME: the value from the command line of make; what the shell's environment says is not taken.
given = $(if $(filter command,$(origin $(1))),$($(1)))

demo:
ifeq ($(CLOUD),own)
	@tests/e2e/servers/demo/own '$(call given,CONTEXT)' '$(call given,OS_CLOUD)' '$(call given,HOST)' '$(call given,KUBECONFIG)' '$(call given,CLOUDS_YAML)'
else
	@tests/e2e/servers/demo/run $(CLOUD)
endif

test:
	@tests/e2e/run $(TIERS)

bench:
	@tests/e2e/run bench

crds:
	cargo run --locked --bin sidestep-operator -- crds

release-record:
	@tests/fixtures/released/record

servers-up:
	@tests/e2e/servers/shell up $(SERVERS)

servers-down:
	@tests/e2e/servers/shell down

clean-cache:
	@tests/e2e/servers/shell clean
