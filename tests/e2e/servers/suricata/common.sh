# Shared by the scripts of this folder; sourced after ../lib.sh, with RUN set. Two network namespaces joined by a veth
# pair: in `server` runs a web server, watched by Suricata on its end of the pair; from `client` the attack comes.
# shellcheck disable=SC2034 # the variables are for the scripts that source this
SERVER_NETNS=sidestep-$(run_id)-server
CLIENT_NETNS=sidestep-$(run_id)-client
SERVER_ADDRESS=192.0.2.1 # documentation addresses: they exist in these namespaces only
CLIENT_ADDRESS=192.0.2.2
