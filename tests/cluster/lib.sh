# Settings and helpers shared by the scripts of the test cluster. Sourced by bash, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034  # much of this is used by those who source it

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)

# Where everything of the cluster lives: certificates, etcd, containerd, kubelet, logs. `down` removes
# the whole of it.
work=${KERF_CLUSTER_WORK:-${TMPDIR:-/tmp}/kerf-cluster}

# Names and addresses inside the node's own network namespace; nothing of them exists outside it.
node_name=kerf-node
# shellcheck disable=SC2034
node_ip=10.88.0.1
# shellcheck disable=SC2034
service_ip=10.96.0.1
# A cgroup of our own in every hierarchy, so that removing it is safe. One cluster a machine.
cgroup_name=kerf-cluster

say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# The key of the binary cache: changes whenever a pinned version or a build flag changes.
pins_hash() {
  cat "$here/go/go.mod" "$here/go/go.sum" "$here/go/commands.go" "$here/build" |
    sha256sum | cut -c1-16
}
cache_root=${KERF_CLUSTER_CACHE:-$HOME/.cache/kerf-cluster}
bin_dir() { echo "$cache_root/$(pins_hash)/bin"; }

# Packages of the distribution which the scripts and the kubelet call.
debian_packages=(runc busybox-static containernetworking-plugins iproute2 iptables jq openssl
  curl util-linux python3 procps kmod)

install_packages() {
  local missing=() p
  for p in "${debian_packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' ||
      missing+=("$p")
  done
  [[ ${#missing[@]} -eq 0 ]] && return 0
  say "installing packages: ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" \
    >/dev/null 2>&1 && return 0
  apt-get update >/dev/null 2>&1
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" \
    >/dev/null || die "apt-get could not install: ${missing[*]}"
}

need_root() { [[ $(id -u) -eq 0 ]] || die "must run as root (containers, mounts, namespaces)"; }

# The node's launcher (`unshare`) wrote its pid and start time before it made the node, so that a
# node is found however early its bring-up was broken off; the start time guards against a pid that
# was given to somebody else since.
launcher_pid() {
  local pid start
  [[ -r $work/launcher.pid ]] || return 1
  read -r pid start <"$work/launcher.pid" || return 1
  [[ -n $start && $(proc_start "$pid") == "$start" ]] || return 1
  echo "$pid"
}
# The pid of the node's first process; fails when the node is not up.
node_pid() {
  local launcher
  launcher=$(launcher_pid) && pgrep -P "$launcher"
}
proc_start() { awk '{sub(/^.*\) /, ""); print $20}' "/proc/$1/stat" 2>/dev/null; }

# Runs a command inside the node: its mounts, its network, its processes.
in_node() {
  local pid
  pid=$(node_pid) || die "no cluster is up in $work (tests/cluster/up starts one)"
  nsenter --target "$pid" --mount --net --pid --uts --wd="$PWD" -- "$@"
}

node_env() {
  export PATH="$work/bin:$PATH" KUBECONFIG="$work/pki/admin.conf"
  export KERF_CLUSTER_WORK="$work" KERF_CLUSTER_NODE="$node_name"
}

# eventually SECONDS COMMAND...: repeats the command until it succeeds or the time is over.
eventually() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $deadline ]] || return 1
    sleep 0.1
  done
}

# Directories outside the work directory that the node mounts over; made if missing, and removed
# again by `down` if it was us who made them.
mount_points=(/var/lib/kubelet /var/lib/cni /var/log/containers /var/log/pods /opt)

# Every cgroup hierarchy's directory, version 1 and 2 alike.
cgroup_hierarchies() {
  awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/mounts
}
