# shellcheck shell=bash
# What the scripts of LXD and Incus share, which is all but names.

# shellcheck source=tests/engines/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
: "${product:?}" "${daemon:?}" "${client:?}"

instance=${2:-main}
check_base "$instance"
name=$product-$instance
# The daemon's own directory; our files lie beside its socket, as every engine's do.
dir=$base/$name
socket=$dir/unix.socket
pidfile=$dir/$product.pid
log=$dir/$product.log
daemon_log=$dir/logs/$product.log
conf=$dir/client
# One key pair for the clients of all instances, so that a client of one may use the others.
identity=$base/client
# LXD 5.0 lets clients join by it; Incus has tokens only.
password=roadstead-test
# In the environment of what the daemon starts, since the command lines of few bear the directory. Not LXD_DIR, which
# a client has too.
mark=ROADSTEAD_ENGINE_DIR=$dir
# Interfaces have up to 15 characters.
bridge=rs${product:0:1}$(cksum <<<"$dir" | cut -d ' ' -f 1 | xargs printf '%08x')

# AppArmor's profiles would outlive a killed daemon.
environment=(env -u LXD_SOCKET -u INCUS_SOCKET -u LXD_REMOTE -u INCUS_REMOTE -u LXD_PROJECT -u INCUS_PROJECT
  -u NOTIFY_SOCKET -u LISTEN_PID -u LISTEN_FDS "${product^^}_DIR=$dir" "${product^^}_SECURITY_APPARMOR=false")
cli() { "${environment[@]}" "${product^^}_CONF=$conf" "$client" "$@" </dev/null; }
ready_to_serve() { "${environment[@]}" "$daemon" waitready --timeout 1 >/dev/null 2>&1; }

# api METHOD PATH [BODY]: prints the answer.
api() {
  curl --silent --show-error --fail-with-body --max-time 30 --unix-socket "$socket" \
    --request "$1" ${3+--data "$3"} "http://$product$2"
}

# Whether the daemon has PATH.
has() { api GET "$1" >/dev/null 2>&1; }

# must METHOD PATH BODY: the daemon's own words are the reason when it refuses.
must() {
  local answer
  answer=$(api "$@" 2>&1) || die "$name: $1 $2: $answer"
}

# Unprivileged containers reach their root file system as users who own nothing here.
check_reachable() {
  chmod o+x "$base"
  mkdir -p "$dir" "$dir/logs"
  chmod 711 "$dir"
  setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$dir" ||
    die "the container's users cannot reach $dir: a directory above may not be entered by others"
}

make_identity() {
  [[ ! -s $identity/client.crt ]] || return 0
  (
    flock 8
    [[ ! -s $identity/client.crt ]] || exit 0
    mkdir -p "$identity"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -days 3650 -subj '/CN=roadstead test client' \
      -addext extendedKeyUsage=clientAuth -keyout "$identity/client.key" -out "$identity/client.crt.part" 2>"$identity/openssl.log"
    mv "$identity/client.crt.part" "$identity/client.crt"
  ) 8>"$base/client.lock"
}

# Incus gives up when an interface of another daemon vanishes while it looks at all there are, and takes back what it did.
make_network() {
  local body=$1 try
  for try in 1 2 3 4; do
    if (must POST /1.0/networks "$body"); then return 0; fi
    echo "$name: its network was not made, trying again ($try)" >&2
  done
  must POST /1.0/networks "$body"
}

# No rules in the machine's packet filter, and no forwarding: containers reach each other and this machine.
configure() {
  local octet images certificate
  octet=$(octet_of "$name")
  must PATCH /1.0 "$(jq --null-input --arg address "$address" --arg password "$password" --arg product "$product" '{
    config: ({"core.https_address": $address, "images.auto_update_interval": "0"}
      + if $product == "lxd" then {"core.trust_password": $password} else {} end)}')"
  has /1.0/storage-pools/default || must POST /1.0/storage-pools '{"name": "default", "driver": "dir"}'
  has "/1.0/networks/$bridge" || make_network "$(jq --null-input --arg name "$bridge" --arg address "10.$octet.0.1/24" '{
    $name, type: "bridge", config: {
      "ipv4.address": $address, "ipv4.nat": "false", "ipv4.firewall": "false", "ipv4.routing": "false",
      "ipv6.address": "none"}}')"
  must PUT /1.0/profiles/default "$(jq --null-input --arg network "$bridge" '{
    config: {}, description: "", devices: {
      root: {type: "disk", path: "/", pool: "default"},
      eth0: {type: "nic", name: "eth0", $network}}}')"
  certificate=$(openssl x509 -in "$identity/client.crt" -outform DER | base64 --wrap 0)
  has "/1.0/certificates/$(base64 --decode <<<"$certificate" | sha256sum | cut -d ' ' -f 1)" ||
    must POST /1.0/certificates "{\"type\": \"client\", \"name\": \"roadstead-test\", \"certificate\": \"$certificate\"}"
  images=$("$engines_dir/busybox-root")
  has /1.0/images/aliases/roadstead%2Fbusybox%3Alatest ||
    cli --quiet image import "$images/lxd.tar" --alias roadstead/busybox:latest
}

# The layout of the client's own configuration directory, and the server's certificate beside.
make_client() {
  mkdir -p "$conf/servercerts"
  cp "$identity"/client.{crt,key} "$dir/server.crt" "$conf"
  [[ -s $conf/config.yml ]] ||
    echo '{"default-remote": "local", "remotes": {"local": {"addr": "unix://"}}}' >"$conf/config.yml"
}

# add_remote CLIENT INSTANCE: the client of the instance CLIENT gets INSTANCE as a remote, unless it has it.
add_remote() {
  local directory=$base/$product-$1/client
  [[ ! -e $directory/servercerts/$2.crt ]] || return 0
  env "${product^^}_CONF=$directory" "$client" remote add "$2" "https://127.0.0.1:$(port_of "$product-$2")" \
    --accept-certificate >/dev/null
}

# The two instances which all tests share know each other, and each other one knows them.
add_remotes() {
  local other
  add_remote "$instance" "$instance"
  for other in main second; do
    [[ -e $base/$product-$other/configured ]] || continue
    running "$base/$product-$other/$product.pid" "$base/$product-$other/logs/" || continue
    add_remote "$instance" "$other"
    if [[ $instance =~ ^(main|second)$ ]]; then add_remote "$other" "$instance"; fi
  done
}

network_is_up() { [[ $(api GET "/1.0/networks/$bridge" | jq --raw-output .metadata.status) == Created ]]; }

# Incus gives a network up, for a minute, when an interface of another daemon vanishes while it looks at all there are.
start_daemon() {
  local try
  for try in 1 2 3 4 5 6; do
    rm -f "$socket"
    spawn "$pidfile" "$log" "${environment[@]}" "$mark" "$daemon" --group root --logfile "$daemon_log"
    ready 60 "$log" ready_to_serve
    [[ -e $dir/configured ]] || return 0
    if network_is_up; then return 0; fi
    echo "$name: its network is not up, starting it again ($try)" >&2
    kill_pid "$spawned"
  done
  die "$name: its network does not come up"
}

start() {
  local address
  require "$daemon" "$client" curl jq openssl ip dnsmasq rsync setfattr mksquashfs xz setpriv
  lock "$name"
  check_reachable
  make_identity
  address=127.0.0.1:$(port_of "$name")
  if running "$pidfile" "$daemon_log"; then
    spawned=$(cat "$pidfile")
    ready 60 "$log" ready_to_serve
  else
    start_daemon
  fi
  make_client
  [[ -e $dir/configured ]] || configure
  # Under one lock, so that of two which start at once the later one sees the other.
  (
    flock 8
    add_remotes
    touch "$dir/configured"
  ) 8>"$base/$product-remotes.lock"
}

# The daemon, what it started and what that started, and the containers' processes.
processes() {
  {
    processes_with_environment "$mark"
    processes_of_daemon
    processes_in_roots
  } 2>/dev/null | sort -u
}

processes_with_environment() { { grep -lzxF -- "$1" /proc/[0-9]*/environ || true; } | cut -d / -f 3; }

# Incus clears the environment of LXC's monitors, and so of their hooks, but for its directory.
processes_of_daemon() {
  local pid program
  program=$(command -v "$daemon")
  for pid in $(processes_with_environment "${product^^}_DIR=$dir"); do
    if [[ /proc/$pid/exe -ef $program ]]; then echo "$pid"; fi
  done
}

# A container's environment is its own, but its root directory is here.
processes_in_roots() {
  local roots
  roots=$(stat --dereference --format '%d:%i ' "$dir"/storage-pools/*/containers/*/rootfs) || true
  [[ -n $roots ]] || return 0
  { stat --dereference --format '%d:%i %n' /proc/[0-9]*/root || true; } | grep -F -f <(echo "$roots") | cut -d / -f 3
}

# The cgroups of LXC in which a process of ours is. Their names alone prove nothing: every daemon's look the same.
groups() {
  local pid
  for pid in $(processes); do
    sed -n 's|^[^/]*/\(lxc\.[a-z]*\.[^/]*\).*|\1|p' "/proc/$pid/cgroup" 2>/dev/null || true
  done | sort -u
}

# A round may meet processes which were started meanwhile, and what is frozen dies only when it is thawed.
all_ended() {
  processes | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
  ((${#groups[@]} == 0)) || cgroups_ended "${groups[@]}" && [[ -z $(processes) ]]
}

# Containers survive their daemon, as they should.
end_processes() {
  local groups
  mapfile -t groups < <(groups | sed 's|\.|\\.|g; s|.*|/&(/\|$)|')
  until_true 20 all_ended || die "still running: $(processes | xargs)"
}

# Every managed network has a directory.
remove_bridges() {
  local network
  for network in "$dir"/networks/*; do
    network=${network##*/}
    if [[ -e /sys/class/net/$network/bridge ]]; then ip link delete "$network"; fi
  done
}

# Images of storage pools, whose loop devices mostly vanish with their mounts.
detach_loops() {
  local device file
  losetup --list --noheadings --output NAME,BACK-FILE | while read -r device file; do
    if [[ $file == "$dir"/* ]]; then losetup --detach "$device"; fi
  done
}

stop() {
  lock "$name"
  if [[ ! -d $dir ]]; then return; fi
  finish "$pidfile" "$daemon_log" 10
  end_processes
  remove_bridges
  unmount_below "$dir"
  detach_loops
  remove_tree "$dir"
  # LXC parks a monitor there while it deletes the monitor's own.
  if [[ -z $(find /sys/fs/cgroup -maxdepth 2 -type d -name 'lxc.monitor.*') ]]; then
    remove_parents lxc.pivot
    rmdir /sys/fs/cgroup/lxc.pivot 2>/dev/null || true
  fi
}

case ${1-} in
  start) start ;;
  stop) stop ;;
  kill) kill_daemon "$pidfile" "$daemon_log" ;;
  status) print_status "$pidfile" "$daemon_log" ;;
  uri) echo "$product+unix://$socket" ;;
  tls-uri) echo "$product+https://127.0.0.1:$(port_of "$name")" ;;
  dir) echo "$dir" ;;
  certs) echo "$conf" ;;
  client) cli "${@:3}" ;;
  *) usage '{start|stop|status|kill|uri|tls-uri|dir|certs|client} [INSTANCE]' ;;
esac
