# Shared by the scripts of this folder: where things are, and how each process is started. To be sourced by bash after
# `set -euo pipefail`.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

NOVA=$SERVERS/nova
PYTHON=${SIDESTEP_PYTHON:-python3}
# What was installed, named by what it was made from: another checkout with the same inputs shares it.
VENV=$(cache_dir nova-venv "$NOVA/requirements.txt" "$NOVA/constraints.txt" "$("$PYTHON" --version 2>&1)")
# The folder of the databases. Known only when MariaDB is installed, for its version is one of the inputs.
databases() {
  cache_dir nova-databases "$NOVA/requirements.txt" "$NOVA/constraints.txt" "$NOVA/install" "$NOVA/schema.py" "$(/usr/sbin/mariadbd --version)"
}

# The cloud's administrator. Fixed, because it is made with the databases, long before any run; reachable on loopback only.
ADMIN_USER=admin
ADMIN_PASSWORD=sidestep

# Conductor and scheduler show their state in place of their command line; without this they would overwrite their
# environment too, and with it the mark by which lib.sh knows a process.
export SPT_NOENV=1
# Nothing here is reached through a proxy.
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

# progress WHAT: one line with the seconds since the script started.
progress() { say "$(printf 'nova %3d s  %s' "$SECONDS" "$*")"; }

# prepare_run HOSTS MAX_LIVE_MIGRATIONS: chooses the ports, notes everything in RUN_DIR/env and writes the configuration.
prepare_run() {
  local name
  chmod 600 "$RUN/env" # it has a password
  put ADMIN_USER "$ADMIN_USER"
  put ADMIN_PASSWORD "$ADMIN_PASSWORD"
  put SECRET "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
  put HOSTS "$1"
  put MAX_LIVE_MIGRATIONS "$2"
  for name in KEYSTONE NOVA PLACEMENT GLANCE NETWORK DATABASE AMQP AMQP_DISTRIBUTION EPMD; do put "${name}_PORT" "$(port)"; done
  put SIM_DIR "$RUN/sim"
  mkdir -p "$RUN/sim/ctl" "$RUN/lock"
  "$PYTHON" "$NOVA/config.py" "$RUN" "$VENV"
}

# ---- what lies beneath ----

start_database() {
  # Only root can hand the server over to another user; anybody else is the user already.
  start mariadb /usr/sbin/mariadbd --defaults-file="$RUN/etc/mariadb/my.cnf" --user="$(id -un)"
}

database_answers() {
  mariadb --no-defaults -h127.0.0.1 -P"$(get DATABASE_PORT)" -uopenstack -p"$(get SECRET)" -e 'SELECT 1'
}

start_rabbitmq() {
  # RUNNING_UNDER_SYSTEMD makes the script become the server, so that the pid is the server's. The own HOME holds the
  # cookie, the own epmd keeps the node name apart from those of other runs.
  start rabbitmq env HOME="$RUN/rabbitmq" RUNNING_UNDER_SYSTEMD=yes \
    RABBITMQ_NODENAME="sidestep-$(run_id)@localhost" RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_CONFIG_FILE="$RUN/etc/rabbitmq/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$RUN/etc/rabbitmq/enabled_plugins" \
    RABBITMQ_MNESIA_BASE="$RUN/rabbitmq/mnesia" RABBITMQ_LOG_BASE="$RUN/rabbitmq" \
    RABBITMQ_DIST_PORT="$(get AMQP_DISTRIBUTION_PORT)" ERL_EPMD_PORT="$(get EPMD_PORT)" ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none" \
    /usr/lib/rabbitmq/bin/rabbitmq-server
}

# ---- the services ----

# start_api NAME PORT MODULE THREADS FOLDER "CONFIG_FILE..." [UWSGI_OPTION...]: a WSGI application. It closes every
# connection after the answer, so it says so: else a client that keeps connections would write into closed ones.
start_api() {
  local name=$1 port=$2 module=$3 threads=$4 folder=$5 file files=
  for file in $6; do files+=" --config-file $folder/$file"; done
  shift 6
  start "$name" env OS_KEYSTONE_CONFIG_DIR="$folder" OS_PLACEMENT_CONFIG_DIR="$folder" OS_GLANCE_CONFIG_DIR="$folder" \
    OS_NOVA_CONFIG_DIR="$folder" \
    "$VENV/bin/uwsgi" --http-socket "127.0.0.1:$port" --module "$module:application" --virtualenv "$VENV" \
    --processes 1 --threads "$threads" --enable-threads --lazy-apps --need-app --die-on-term --buffer-size 65535 \
    --add-header 'Connection: close' --pyargv "${files# }" "$@"
}

start_keystone() { start_api keystone "$(get KEYSTONE_PORT)" keystone.wsgi.api 8 "$RUN/etc/keystone" keystone.conf --disable-logging; }
start_placement() { start_api placement "$(get PLACEMENT_PORT)" placement.wsgi.api 8 "$RUN/etc/placement" placement.conf --disable-logging; }
start_glance() { start_api glance "$(get GLANCE_PORT)" glance.wsgi.api 2 "$RUN/etc/glance" glance-api.conf --disable-logging; }
start_network() { start network "$VENV/bin/python" "$NOVA/network_stub.py" "$(get NETWORK_PORT)"; }

start_nova_api() {
  start_api nova-api "$(get NOVA_PORT)" nova.wsgi.osapi_compute 16 "$RUN/etc/nova" "nova.conf database.conf" \
    --req-logger "file:$(get NOVA_ACCESS_LOG)" --log-format '%(tmsecs) %(method) %(uri) %(status) %(msecs)ms %(uagent)'
}

start_conductor() { start nova-conductor "$VENV/bin/nova-conductor" --config-file "$RUN/etc/nova/nova.conf" --config-file "$RUN/etc/nova/database.conf"; }
start_scheduler() { start nova-scheduler "$VENV/bin/nova-scheduler" --config-file "$RUN/etc/nova/nova.conf" --config-file "$RUN/etc/nova/database.conf"; }

# start_compute HOST
start_compute() {
  start "compute-$1" "$VENV/bin/python" "$NOVA/driver/compute.py" \
    --config-file "$RUN/etc/nova/nova.conf" --config-file "$RUN/etc/nova/compute-$1.conf"
}

# port_of NAME: the port on which a process answers, or nothing.
port_of() {
  case $1 in
    keystone) get KEYSTONE_PORT ;;
    placement) get PLACEMENT_PORT ;;
    glance) get GLANCE_PORT ;;
    nova-api) get NOVA_PORT ;;
    network) get NETWORK_PORT ;;
  esac
}

# http_answers PORT: true if an HTTP server answers. uWSGI accepts connections long before it has loaded its application,
# so an open port is not enough.
http_answers() { curl -s -o /dev/null --max-time 30 "http://127.0.0.1:$1/"; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_for NAME: returns when the process serves. A compute or conductor is only known to run: Nova shows whether it is up.
wait_for() {
  case $1 in
    mariadb) wait_until 60 mariadb "serve queries" database_answers ;;
    rabbitmq) wait_until 120 rabbitmq "open its port" listens "$(get AMQP_PORT)" ;;
    nova-conductor | nova-scheduler | compute-*) wait_until 5 "$1" "start" alive "$1" ;;
    *) wait_until 120 "$1" "answer" http_answers "$(port_of "$1")" ;;
  esac
}
