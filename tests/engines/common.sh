# shellcheck shell=bash
# What the engine scripts share: where an engine lives, how its daemon is started, watched and ended.

engines_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=${ROADSTEAD_ENGINES:-/tmp/roadstead-engines}
# What an engine is called in messages and files; set by scripts which know instances.
name=${0##*/}
export base engines_dir name
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

usage() {
  echo "Usage: $0 $1" >&2
  exit 2
}

# A unix socket's path ends at 107 characters, and paths go into configuration files unquoted.
check_base() {
  [[ $base =~ ^/[A-Za-z0-9._/-]{1,48}$ ]] || die "ROADSTEAD_ENGINES must be a short, plain absolute path: $base"
  [[ ${1-} =~ ^[a-z0-9-]{0,20}$ ]] || die "an instance is named by up to 20 of a-z 0-9 -: $1"
  ((EUID == 0)) || die "must be root"
  mkdir -p "$base"
}

require() {
  local command
  for command; do
    command -v "$command" >/dev/null || die "$command is missing: run $engines_dir/install"
  done
}

# Serialises callers: every helper and every test may start and stop the same engine.
lock() {
  exec 9>"$base/$1.lock"
  flock --wait 300 9 || die "another run holds $base/$1.lock"
}

# spawn PIDFILE LOG COMMAND...: a daemon of its own session, which keeps no lock and no terminal.
spawn() {
  local pidfile=$1 log=$2
  shift 2
  (cd / && exec setsid "$@" </dev/null >>"$log" 2>&1 9>&-) &
  spawned=$!
  echo "$spawned" >"$pidfile"
}

# ready SECONDS LOG COMMAND...: waits until COMMAND succeeds or what was spawned last is dead.
ready() {
  local log=$2
  until_true "$1" dead_or "${@:3}" && kill -0 "$spawned" 2>/dev/null && return
  # Without the chatter of dockerd's client library.
  grep -v module=grpc "$log" | tail -n 20 >&2 || true
  die "$name did not start: $(tail -n 1 "$log")"
}

dead_or() { ! kill -0 "$spawned" 2>/dev/null || "$@"; }

# running PIDFILE MARK: alive, no zombie, and really ours: its command line bears MARK.
running() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "$2"
}

# Whether process $1 holds nothing any more: reaped, or a zombie whose threads are all gone.
gone() {
  [[ ! -e /proc/$1/stat ]] || { grep -q ') Z ' "/proc/$1/stat" && [[ $(echo "/proc/$1/task/"*) != *' '* ]]; } 2>/dev/null
}

# until_true SECONDS COMMAND...
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# finish PIDFILE MARK SECONDS: SIGTERM, and SIGKILL if it takes longer.
finish() {
  local pid
  if running "$1" "$2"; then
    pid=$(cat "$1")
    kill -TERM "$pid" || true
    until_true "$3" gone "$pid" || kill_pid "$pid"
  fi
  rm -f "$1"
}

kill_pid() {
  kill -KILL "$1" || true
  until_true 10 gone "$1" || die "process $1 does not die"
}

# The commands which are equal for every engine: kill_daemon and print_status PIDFILE MARK.
kill_daemon() {
  running "$@" || die "$name does not run"
  kill_pid "$(cat "$1")"
}

print_status() {
  if running "$@"; then
    echo "$name: running, process $(cat "$1")"
  else
    echo "$name: stopped"
    exit 3
  fi
}

# overlay2 needs a file system below which is no overlay itself.
overlay_works() {
  local try works=1
  try=$(mktemp -d "$base/overlay.XXXXXX")
  mkdir "$try"/{lower,upper,work,merged}
  if mount -t overlay overlay -o "lowerdir=$try/lower,upperdir=$try/upper,workdir=$try/work" "$try/merged" 2>/dev/null; then
    umount "$try/merged"
    works=0
  fi
  rm -rf --one-file-system "$try"
  return $works
}

# Processes whose command line has the argument $1, whole.
processes_with() {
  { grep -lzxF -- "$1" /proc/[0-9]*/cmdline || true; } 2>/dev/null | cut -d / -f 3
}

none_with() { [[ -z $(processes_with "$1") ]]; }

end_processes_with() {
  processes_with "$1" | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
  until_true 10 none_with "$1" || die "still running: $(processes_with "$1" | xargs)"
}

# end_cgroups ID...: kills what runs in the cgroups of these containers and deletes them.
# Only full ids: any lesser pattern could name a stranger's cgroup.
end_cgroups() {
  local id ids=()
  for id; do
    if [[ $id =~ ^[0-9a-f]{64}$ ]]; then ids+=("$id"); fi
  done
  ((${#ids[@]})) || return 0
  until_true 10 cgroups_ended "${ids[@]}" || die "cgroups are left of: ${ids[*]}"
}

# cgroups_ended PATTERN...: whether none of the cgroups whose path matches exists any more; does its best to it.
cgroups_ended() {
  local group none=0
  while read -r group; do
    xargs --no-run-if-empty kill -KILL <"$group/cgroup.procs" 2>/dev/null || true
    # What is frozen dies when it is thawed, in either cgroup version.
    if [[ -e $group/freezer.state ]]; then echo THAWED >"$group/freezer.state"; fi
    if [[ -e $group/cgroup.freeze ]]; then echo 0 >"$group/cgroup.freeze"; fi
    rmdir "$group" 2>/dev/null || none=1
  done < <(find /sys/fs/cgroup -depth -type d | grep -E -f <(printf '%s\n' "$@"))
  return $none
}

# Deletes the named cgroups which containers shared, if nobody uses them any more.
remove_parents() {
  local parent
  for parent; do rmdir /sys/fs/cgroup/*/"$parent" 2>/dev/null || true; done
}

port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

octet_free() { ! { ip -4 route | grep -q "^10\.$1\."; }; }

# chosen KIND NAME FIRST COUNT: a number for this engine out of COUNT from FIRST on, by the path, so that it is
# the same after every restart; the next one if it is taken. It is kept in a file, and nobody else's.
chosen() {
  local kind=$1 name=$2 first=$3 count=$4 number
  mkdir -p "$base/$kind"
  (
    flock 8
    if [[ ! -s $base/$kind/$name ]]; then
      number=$((first + $(cksum <<<"$base/$name" | cut -d ' ' -f 1) % count))
      while grep -rqsxF "$number" "$base/$kind" || ! "${kind%s}_free" "$number"; do
        number=$((first + (number - first + 1) % count))
      done
      echo "$number" >"$base/$kind/$name"
    fi
    cat "$base/$kind/$name"
  ) 8>"$base/$kind.lock"
}

# A loopback port below the ephemeral range.
port_of() { chosen ports "$1" 20000 10000; }

# The x of the 10.x.0.0/16 which holds this engine's networks.
octet_of() { chosen octets "$1" 100 100; }

# Unmounts everything below the directory $1, the innermost first.
unmount_below() {
  local target
  awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac | while read -r target; do
    umount "$target" 2>/dev/null || umount --lazy "$target"
  done
}

# Never deletes through a mount: what is mounted may be the caller's own files.
remove_tree() {
  unmount_below "$1"
  ! grep -qF " $1/" /proc/self/mountinfo || die "something is still mounted below $1"
  rm -rf --one-file-system "$1"
}
