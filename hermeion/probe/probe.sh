# What Hermeion asks of a host: one POSIX-sh script, one round trip, no Python, no package.
# Arguments: $1 = folder of the weights. Never fails: every section ends with its own status.
# Format:  "@<section>", then lines, then "@=<status>".
LC_ALL=C; export LC_ALL
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
cache=$1
section() { printf '@%s\n' "$1"; shift; "$@" 2>/dev/null; printf '\n@=%s\n' "$?"; }
have() { command -v "$1" >/dev/null 2>&1; }

os() {
  sed -n 's/^\(ID\|VERSION_ID\|VERSION_CODENAME\)=/\1=/p' /etc/os-release
  echo "kernel=$(uname -r)"; echo "machine=$(uname -m)"; echo "uid=$(id -u)"
  echo "boot=$(@BOOT@)"
  sed -n 's/^\(MemTotal\|MemAvailable\): *\([0-9]*\) kB/\1=\2/p' /proc/meminfo
  for tool in curl wget systemctl apt-get; do have "$tool" && echo "tool=$tool"; done
  if [ -d /sys/firmware/efi/efivars ]; then
    od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/SecureBoot-* | sed 's/ *//; s/^/secure_boot=/'
  fi
}
pci() {
  for d in /sys/bus/pci/devices/*; do
    [ "$(cat "$d/vendor")" = 0x10de ] || continue
    [ -e "$d/physfn" ] && continue
    driver=$(readlink "$d/driver"); driver=${driver##*/}
    echo "${d##*/} $(cat "$d/device") $(cat "$d/class") ${driver:--} $(cat "$d/subsystem_device") $(cat "$d/numa_node")"
  done
}
smi() { have nvidia-smi || return 127; timeout 120 nvidia-smi --query-gpu=@SMI_FIELDS@ --format=csv,noheader,nounits; }
topo() {
  # Which GPUs NVLink joins matters where some are joined and others are not: with a switch all are.
  [ "$(pci | grep -c ' 0x030[02]')" -gt 1 ] && ! pci | grep -q ' 0x0680' && have nvidia-smi || return 127
  timeout 60 nvidia-smi topo -m
}
dpkg_state() {
  have dpkg-query || return 127
  dpkg-query -W -f='${db:Status-Abbrev} ${Package} ${Version}\n' | awk '
    $1 !~ /^(ii|rc|un|hi)$/ { print "broken", $2; next }
    $1 != "rc" && ($2 ~ /^(nvidia|libnvidia|docker|containerd|curl$|python3-venv)/) { print $2, $3 }'
}
docker_state() {
  have docker || return 127
  echo "version=$(docker version --format '{{.Server.Version}}')"
  echo "compose=$(docker compose version --short)"
  echo "active=$(systemctl is-active docker)"
  docker image ls --digests --format 'image={{.Repository}}@{{.Digest}}'
  docker ps -a --no-trunc --filter label=org.hermeion.service \
    --format 'container={{.Label "org.hermeion.service"}} {{.Label "org.hermeion.release"}} {{.State}}'
}
daemon_json() { cat /etc/docker/daemon.json; }
cdi() { sed -n 's/^ *\(- \)\{0,1\}name: *"\{0,1\}\([^"]*\)"\{0,1\} *$/\2/p' /etc/cdi/*.yaml /var/run/cdi/*.yaml; }
disks() {
  for path in "$cache" /var/lib/docker; do
    dir=$path; while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
    writable=yes; findmnt -no OPTIONS -T "$dir" | grep -Eq '(^|,)ro(,|$)' && writable=no
    echo "$path $(df -PB1 "$dir" | awk 'NR==2 {print $2, $4}') $writable $(findmnt -no SOURCE -T "$dir" | head -n 1)"
  done
}
weights() {
  # A manifest holds what a finished and checked pull put there: "<bytes> <path>" per file, sorted.
  for manifest in "$cache"/hermeion/*.manifest; do
    [ -f "$manifest" ] || continue
    name=${manifest##*/}; name=${name%.manifest}
    snapshot="$cache/hub/${name%@*}/snapshots/${name##*@}"
    state=damaged
    find -L "$snapshot" -type f -printf '%s %P\n' | sort | cmp -s - "$manifest" && state=complete
    echo "$name $state"
  done
}
files() {
  for file in /etc/hermeion/* /etc/hermeion/*/* /opt/hermeion/*/current/* /opt/hermeion/puller/* \
      /etc/systemd/system/hermeion-*.service /etc/docker/certs.d/*/* /etc/apt/sources.list.d/hermeion-*; do
    [ -f "$file" ] && echo "$(stat -L -c '%a %u:%g' "$file") $(sha256sum < "$file" | cut -d' ' -f1) $file"
  done
  true
}
releases() {
  for link in /opt/hermeion/*/current; do
    [ -f "$link/plan.json" ] || continue
    service=${link#/opt/hermeion/}; service=${service%/current}
    printf '%s %s ' "$service" "$(readlink "$link")"; tr -d '\n' < "$link/plan.json"; echo
  done
}
units() {
  set -- /etc/systemd/system/hermeion-*.service
  [ -f "$1" ] || return 0
  for unit in "$@"; do
    unit=${unit##*/}
    echo "$unit $(systemctl show -p ActiveState,SubState,UnitFileState,NRestarts,NeedDaemonReload "$unit" | tr '\n' ' ')"
  done
}

section os os
section pci pci
section smi smi
section topo topo
section dpkg dpkg_state
section docker docker_state
section daemon.json daemon_json
section cdi cdi
section disks disks
section weights weights
section files files
section releases releases
section units units
exit 0
