# Shared by the scripts that install, start and stop the real servers of the tests (see README.md). To be sourced, after
# `set -euo pipefail`, by bash. A RUN_DIR is one running server: its pids, logs, ports and data, and the file `env`.

# The developer's own cluster and cloud are none of the tests' business.
unset KUBECONFIG
for name in $(compgen -e); do case $name in OS_*) unset "$name" ;; esac; done
unset name

SERVERS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${SIDESTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sidestep}
case $CACHE in /*) ;; *) CACHE=$PWD/$CACHE ;; esac
# Whose end makes a run superfluous (see sweep): the process named by the caller, else the one that called the script.
OWNER=${SIDESTEP_OWNER_PID:-$PPID}

# forget_proxies: for what runs from here on, which talks on loopback alone, where no proxy can help. Downloads come before.
forget_proxies() { unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY; }

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$(basename "$(cd "$(dirname "$0")" && pwd)")/${0##*/}: $*"
  exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root: $*. Run it as root or install sudo"
  fi
}

# become_root ARGUMENT...: starts the calling script again as root, if it is not root already, with the same cache and owner.
become_root() {
  [ "$(id -u)" != 0 ] || return 0
  command -v sudo >/dev/null || die "network namespaces need root: run this as root or install sudo"
  mkdir -p "$CACHE"/{live,lock,port,run} # root would own them otherwise, and later runs fail on them
  exec sudo SIDESTEP_CACHE="$CACHE" SIDESTEP_OWNER_PID="$OWNER" "$0" "$@"
}

# ---- cache and packages ----

# cache_dir NAME INPUT...: the cache folder of what is made from these inputs; an input is a file or a text. Not created.
cache_dir() {
  local name=$1 input
  shift
  printf '%s/%s-%s\n' "$CACHE" "$name" \
    "$(for input; do if [ -f "$input" ]; then cat "$input"; else printf '%s\n' "$input"; fi; done | sha256sum | cut -c1-16)"
}

# locked NAME COMMAND...: runs a command or function while no other checkout or shell runs one under the same name.
# The lock is held by this subshell alone: `start` closes it for what it starts.
locked() (
  mkdir -p "$CACHE/lock"
  exec 9>"$CACHE/lock/$1"
  if ! flock -w 1 9; then
    say "waiting for another run that does the same ($1)"
    flock 9
  fi
  shift
  "$@"
)

package_missing() { ! dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

# apt_install PACKAGE...: installs what is missing of these Debian packages without starting their services.
# APT_CONFIG may name a further configuration file of apt-get.
apt_install() {
  local package missing=()
  for package; do ! package_missing "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "not Debian, so install by hand what these packages hold: ${missing[*]}"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    die "these Debian packages are missing: ${missing[*]}. Install them as root (apt-get install ${missing[*]}), or install sudo"
  say "installing Debian packages (up to a few minutes): ${missing[*]}"
  # In a session of its own, so that Ctrl-C does not leave packages half installed.
  # shellcheck disable=SC2016 # meant for the inner bash
  as_root setsid --wait env ${APT_CONFIG:+APT_CONFIG="$APT_CONFIG"} DEBIAN_FRONTEND=noninteractive flock /run/sidestep-apt.lock bash -c '
    set -euo pipefail
    # Debian starts the service of a package that it installs, unless this script says no. Ours may be left from a
    # killed run; the machine may have one of its own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ] || grep -q sidestep $policy; then
      trap "rm -f $policy" EXIT
      printf "#!/bin/sh\n# sidestep: no service starts during its apt-get\nexit 101\n" >$policy
      chmod 755 $policy
    fi
    apt-get -o DPkg::Lock::Timeout=600 -q update
    apt-get -o DPkg::Lock::Timeout=600 -q install -y --no-install-recommends "$@"
  ' apt "${missing[@]}" >&2 || die "apt-get could not install ${missing[*]}; its own words stand above"
}

# ---- a run ----

# open_run SERVER RUN_DIR: makes the folder, with pid/ and log/, and notes its owner where sweep finds it. SERVER is the
# name of the folder with its `down`. Sets RUN to the absolute path.
open_run() {
  local server=$1
  # Paths go into files that programs read in several syntaxes; plain ones need quoting in none.
  [[ $2 =~ ^[A-Za-z0-9._/+@-]+$ ]] || die "the run folder '$2' has a character other than A-Z a-z 0-9 . _ / + @ -; choose another one, or set SIDESTEP_CACHE"
  mkdir -p "$2/pid" "$2/log" "$2/command" "$CACHE/live"
  RUN=$(cd "$2" && pwd)
  [ -z "$(marked)" ] || die "$RUN has a running server already; run $SERVERS/$server/down $RUN first"
  rm -f "$RUN"/pid/* "$RUN"/command/*
  printf '%s %s\n' "$OWNER" "$(started_at "$OWNER")" >"$RUN/owner"
  ln -sfn "$RUN" "$CACHE/live/$server-$(run_id)"
  : >"$RUN/env"
}

# use_run RUN_DIR: sets RUN to the absolute path of a run that `up` made.
use_run() {
  RUN=$(cd "$1" 2>/dev/null && pwd) || die "there is no run folder $1; start one with ${0%/*}/up $1"
}

# close_run: forgets a run whose processes have ended. Its logs and data stay until the folder is removed.
close_run() {
  release_ports
  rm -f "$CACHE"/live/*-"$(run_id)"
  rm -f "$RUN/env" "$RUN/owner"
  # Files made as root through sudo go back to the user.
  [ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$RUN"
}

# A short name for this run, the same on every call.
run_id() { printf '%s' "$RUN" | sha256sum | cut -c1-8; }

# put KEY VALUE: one line of RUN_DIR/env, the file that tells how to reach the server.
put() { printf '%s=%s\n' "$1" "$2" >>"$RUN/env"; }

# get KEY: the value that `put` noted last, or nothing.
get() {
  [ -f "$RUN/env" ] || die "nothing is up in $RUN"
  sed -n "s|^$1=||p" "$RUN/env" | tail -n 1
}

# When a process started, in clock ticks since boot: with the pid it names one process for ever. Nothing if it is gone.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# owner_gone RUN_DIR: true if the process on whose behalf the run was started has ended.
owner_gone() {
  local pid started
  { read -r pid started <"$1/owner"; } 2>/dev/null || return 0
  [ "$(started_at "$pid")" != "$started" ]
}

# ---- ports ----

# port: prints a TCP port that is free and that no other run has reserved; it stays this run's until close_run, also
# while its server is down. The range lies below the one from which the kernel takes ports of outgoing connections.
port() { locked ports reserve_port; }

reserve_port() {
  local port holder
  mkdir -p "$CACHE/port"
  for _ in $(seq 200); do
    port=$((RANDOM % 10000 + 20000))
    holder=$(cat "$CACHE/port/$port" 2>/dev/null || true)
    [ -z "$holder" ] || [ ! -e "$holder/owner" ] || continue
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || continue
    printf '%s\n' "$RUN" >"$CACHE/port/$port"
    printf '%s\n' "$port"
    return
  done
  die "found no free TCP port between 20000 and 29999"
}

release_ports() {
  local file
  for file in "$CACHE"/port/*; do
    if [ "$(cat "$file" 2>/dev/null)" = "$RUN" ]; then rm -f "$file"; fi
  done
}

# ---- processes ----

# start NAME COMMAND...: starts a detached process of the run and notes its pid, log and command.
# It carries SIDESTEP_RUN_DIR in its environment: that is how one knows later that a pid still is this run's.
start() {
  local name=$1
  shift
  printf '%s\0' "$@" >"$RUN/command/$name"
  restart "$name"
}

# restart NAME: starts the command that `start` noted again, with the same log.
restart() {
  local name=$1 command
  ! alive "$name" || die "$name of $RUN runs already"
  [ -f "$RUN/command/$name" ] || die "$RUN has no process named $name; see $RUN/command for those that it has"
  mapfile -d '' command <"$RUN/command/$name"
  SIDESTEP_RUN_DIR=$RUN setsid "${command[@]}" </dev/null >>"$RUN/log/$name.log" 2>&1 9>&- &
  local pid=$!
  disown # no word from bash when it ends
  printf '%s\n' $pid >"$RUN/pid/$name"
  # Until the new process has become the command (or is gone) it does not carry the mark.
  until ours $pid || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
}

# ours PID: true if the process exists and was started by this run.
ours() { grep -qzxF "SIDESTEP_RUN_DIR=$RUN" "/proc/$1/environ" 2>/dev/null; }

# marked: prints the pids of all processes that carry the mark of this run.
marked() { grep -lzxF "SIDESTEP_RUN_DIR=$RUN" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3 || true; }

# alive NAME: true if the named process runs.
alive() {
  local pid
  pid=$(cat "$RUN/pid/$1" 2>/dev/null) || return 1
  # A process that becomes another program (exec) shows no environment for a moment: so a no is asked again.
  ours "$pid" || { [ -e "/proc/$pid" ] && sleep 0.05 && ours "$pid"; }
}

# signal NAME SIGNAL: sends a signal to the named process.
signal() { alive "$1" && kill -s "$2" "$(cat "$RUN/pid/$1")"; }

# stop NAME [SIGNAL]: ends the named process by TERM or the given signal, after 20 s by KILL, and waits until it is gone.
stop() {
  local name=$1 round
  if signal "$name" "${2:-TERM}"; then
    for round in $(seq 600); do
      alive "$name" || break
      [ "$round" != 400 ] || signal "$name" KILL || true
      sleep 0.05
    done
    ! alive "$name" || die "$name of $RUN (pid $(cat "$RUN/pid/$name")) did not end"
  fi
  rm -f "$RUN/pid/$name"
}

# stop_rest: ends whatever else carries the mark of this run, such as a child that outlived its parent.
stop_rest() {
  local pid
  for pid in $(marked); do kill -s KILL "$pid" 2>/dev/null || true; done
}

# answers ARGUMENT...: true if an HTTP server answers curl's request with a success; no proxy is asked.
answers() { curl --noproxy '*' -fs -m 5 -o /dev/null "$@"; }

# wait_until SECONDS NAME WHAT COMMAND...: asks until the command succeeds. Fails, with a sentence and the end of the
# process's log, when the named process ends before that or the time is over. WHAT completes "NAME did not ...".
wait_until() {
  local seconds=$1 name=$2 what=$3 end
  shift 3
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if ! alive "$name" || [ "$SECONDS" -ge "$end" ]; then
      tail -n 20 "$RUN/log/$name.log" >&2 || true
      if alive "$name"; then
        say "$name did not $what within $seconds s; the end of its log $RUN/log/$name.log stands above"
      else
        say "$name ended and did not $what; the end of its log $RUN/log/$name.log stands above"
      fi
      return 1
    fi
    sleep 0.05
  done
}
