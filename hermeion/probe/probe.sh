# What Hermeion asks of a host: one POSIX-sh script, one round trip, no Python, no package.
# Arguments: $1 = folder of the weights. Never fails: every section ends with its own status.
# Format:  "@<section>", then lines, then "@=<status>".
LC_ALL=C; export LC_ALL
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
cache=$1
section() { printf '@%s\n' "$1"; shift; "$@" 2>/dev/null; section_status=$?; printf '\n@=%s\n' "$section_status"; }
have() { command -v "$1" >/dev/null 2>&1; }

addresses() {
  if have ip; then
    ip -o addr show up scope global | awk '$3 ~ /^inet6?$/ { print "address=" $2, $4 }'
    return
  fi
  # Without iproute2: addresses from the kernel's trie of routes, interface and prefix of the narrowest route to each.
  awk '
    function number(hex,  i, value) { # the lowest byte first
      for (i = 7; i > 0; i -= 2)
        value = value * 256 + index(digits, substr(hex, i, 1)) * 16 + index(digits, substr(hex, i + 1, 1)) - 17
      return value
    }
    BEGIN { digits = "0123456789ABCDEF" }
    NR == FNR {
      if (FNR > 1 && $3 == "00000000" && $8 != "00000000") {
        name[++count] = $1; first[count] = number($2); size[count] = 4294967296 - number($8)
      }
      next
    }
    $1 ~ /^[|+]--$/ { address = $2; next }
    $1 == "/32" && $3 == "LOCAL" && !(address in seen) {
      seen[address]; split(address, byte, "."); best = 0
      value = ((byte[1] * 256 + byte[2]) * 256 + byte[3]) * 256 + byte[4]
      for (i = 1; i <= count; i++)
        if (value >= first[i] && value < first[i] + size[i] && (!best || size[i] < size[best])) best = i
      if (!best) next
      prefix = 32; for (rest = size[best]; rest > 1; rest /= 2) prefix--
      print "address=" name[best], address "/" prefix
    }' /proc/net/route /proc/net/fib_trie
}
os() {
  sed -n 's/^\(ID\|ID_LIKE\|VERSION_ID\|VERSION_CODENAME\)=/\1=/p' /etc/os-release
  echo "kernel=$(uname -r)"; echo "machine=$(uname -m)"; echo "uid=$(id -u)"
  libc=$(getconf GNU_LIBC_VERSION) && echo "glibc=${libc#glibc }"
  echo "boot=$(@BOOT@)"
  sed -n 's/^\(MemTotal\|MemAvailable\): *\([0-9]*\) kB/\1=\2/p' /proc/meminfo
  for tool in curl wget systemctl apt-get dnf; do have "$tool" && echo "tool=$tool"; done
  echo "guest=$(systemd-detect-virt --container)"
  # Each of these brings a driver of its own, or has it outside.
  for proof in /etc/nv_tegra_release /dev/dxg /etc/dgx-release; do [ -e "$proof" ] && echo "platform=$proof"; done
  addresses
  if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then echo "reboot_required=yes"; fi
  for variable in /sys/firmware/efi/efivars/SecureBoot-*; do
    [ -f "$variable" ] || continue
    state=$(od -An -tu1 -j4 -N1 "$variable" | tr -d ' ')
    echo "secure_boot=$state"
    [ "$state" = 1 ] && have mokutil && for key in /var/lib/dkms/mok.pub /var/lib/shim-signed/mok/MOK.der; do
      [ -f "$key" ] && mokutil --test-key "$key" | grep -q 'already enrolled' && echo "mok=enrolled"
    done
  done
  true
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
fabric() {
  # NVSwitches are useless until the fabric manager has joined them: CUDA says 802, nvidia-smi looks healthy.
  # (On HGX B200 and B300 the switches are not on the bus; the GPUs tell.)
  pci | grep -Eq ' 0x0680| 0x(2901|2909|3182) ' && have nvidia-smi || return 127
  timeout 60 nvidia-smi --query-gpu=fabric.state --format=csv,noheader
}
module_of() { # $1 = kernel: the first NVIDIA module on disk for it
  for file in /lib/modules/"$1"/updates/dkms/nvidia.ko* /lib/modules/"$1"/updates/dkms/nvidia-current*.ko* \
      /lib/modules/"$1"/kernel/nvidia-*/nvidia.ko* /lib/modules/"$1"/kernel/nvidia-*/*/nvidia.ko* \
      /lib/modules/"$1"/extra/nvidia.ko* /lib/modules/"$1"/extra/*/nvidia.ko* /lib/modules/"$1"/weak-updates/nvidia.ko* \
      /lib/modules/"$1"/updates/nvidia.ko* /lib/modules/"$1"/kernel/drivers/video/nvidia.ko*; do
    [ -f "$file" ] && { echo "$file"; return; }
  done
}
driver() {
  [ -r /sys/module/nvidia/version ] && echo "module=$(cat /sys/module/nvidia/version)"
  case $(head -n 1 /proc/driver/nvidia/version) in
    *"Open Kernel Module"*) echo flavour=open ;; NVRM*) echo flavour=proprietary ;;
  esac
  for folder in /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64 /usr/lib/wsl/lib; do
    file=$(readlink -f "$folder/libnvidia-ml.so.1")
    [ -f "$file" ] && { echo "library=${file##*.so.}"; break; }
  done
  for proof in /usr/bin/nvidia-uninstall /var/log/nvidia-installer.log; do
    [ -e "$proof" ] && { echo "run_file=$proof"; break; }
  done
  running=$(uname -r)
  for folder in /lib/modules/*; do
    kernel=${folder##*/}
    [ "$kernel" = "$running" ] || [ -e "/boot/vmlinuz-$kernel" ] || [ -e "$folder/vmlinuz" ] || continue
    headers=no; [ -e "$folder/build/Makefile" ] && headers=yes
    module=$(module_of "$kernel"); version=; licence=
    [ -n "$module" ] && version=$(modinfo -F version "$module") && licence=$(modinfo -F license "$module")
    echo "kernel=$kernel $headers ${version:--} ${licence:--}"
  done
  # What `dkms status` would say, without the half second that it takes.
  for folder in /var/lib/dkms/nvidia*/*/; do
    folder=${folder%/}; name=${folder%/*}; name=${name##*/}; version=${folder##*/}
    [ -L "$folder" ] || [ ! -e "$folder/source" ] && continue
    state=added
    for build in "$folder"/*/*/module; do
      [ -d "$build" ] || continue
      state=built; place=${build%/module}; arch=${place##*/}; kernel=${place%/*}; kernel=${kernel##*/}
      [ "$(readlink "/var/lib/dkms/$name/kernel-$kernel-$arch")" = "$version/$kernel/$arch" ] && state=installed
      echo "dkms=$name $version $kernel $state"
    done
    [ $state = added ] && echo "dkms=$name $version - added"
  done
  for unit in nvidia-persistenced nvidia-fabricmanager; do
    for folder in /usr/lib/systemd/system /lib/systemd/system /etc/systemd/system; do
      [ -f "$folder/$unit.service" ] || continue
      echo "unit=$unit $(systemctl is-enabled $unit) $(systemctl is-active $unit)"; break
    done
  done
  if have nvidia-smi && [ "$smi_status" != 0 ]; then dmesg | grep NVRM | tail -n 12 | sed 's/^[^N]*/nvrm=/'; fi
  true
}
packages() {
  if have dpkg-query; then
    dpkg-query -W -f='${db:Status-Abbrev} ${Package} ${Version}\n' | awk '
      $1 !~ /^(ii|rc|un|hi|pn)$/ { print "broken", $2, $1; next }
      $1 !~ /^(ii|hi)$/ { next }
      $2 ~ /^(nvidia|libnvidia|linux-modules-nvidia|linux-headers|cuda-|nvlsm|libnvsdm|libcuda1$|dkms$|docker|podman-docker$|containerd|curl$|python3-venv|moby)/ {
        print ($1 == "hi" ? "held" : "package"), $2, $3 }'
  elif have rpm; then
    rpm -qa --qf 'package %{NAME} %{VERSION}-%{RELEASE}\n' |
      grep -E '^package (nvidia|libnvidia|kmod-nvidia|cuda-|nvlsm|libnvsdm|dkms |kernel-devel|docker|containerd|podman-docker|epel-release)'
  else
    return 127
  fi
}
repositories() {
  grep -HE '(nvidia\.com|nvidia\.github|download\.docker\.com)' /etc/apt/sources.list /etc/apt/sources.list.d/* \
    /etc/yum.repos.d/* | sed 's/:/: /'
}
holders() {
  [ -e /dev/nvidiactl ] || return 0
  find /proc/[0-9]*/fd -lname '/dev/nvidia*' -printf '%h\n' | sort -u | while read -r folder; do
    process=${folder%/fd}; unit=$(sed -n '1s/.*\///p' "$process/cgroup"); name=$(cat "$process/comm")
    case $name in nvidia-persiste* | nv-fabricmanage* | nvidia-smi) ;; *) echo "${process#/proc/} ${unit:--} $name" ;; esac
  done
}
docker_state() {
  have docker || return 127
  # Only these few words: an account may hold a proxy's password.
  docker info --format '{{json .}}' | sed -n '
    h; s/.*"ServerVersion":"\([^"]*\)".*/version=\1/p; g; s/.*"LiveRestoreEnabled":\([a-z]*\).*/live_restore=\1/p
    g; s/.*"CDISpecDirs":\(\[[^]]*\]\).*/cdi_folders=\1/p; g; s/.*"LocalNodeState":"\([a-z]*\)".*/swarm=\1/p
    g; s/.*"name=rootless".*/rootless=yes/p; g; s/.*"nvidia":{"path".*/runtimes=nvidia/p'
  echo "compose=$(docker compose version --short)"
  echo "active=$(systemctl is-active docker)"; echo "enabled=$(systemctl is-enabled docker)"
  docker image ls --digests --format 'image={{.Repository}}@{{.Digest}}'
  docker ps -a --no-trunc --format 'container={{.ID}} {{.Names}} {{.State}} {{or (.Label "org.hermeion.service") "-"}} {{or (.Label "org.hermeion.release") "-"}}'
  running=$(docker ps -q --no-trunc)
  [ -z "$running" ] || docker inspect --format \
    'gpus={{.Id}} {{.HostConfig.Runtime}} {{range .HostConfig.DeviceRequests}}{{.Driver}},{{range .Capabilities}}{{range .}}{{.}},{{end}}{{end}}{{end}}' $running
}
daemon_json() { cat /etc/docker/daemon.json; }
cdi() {
  for spec in /etc/cdi/*.yaml /etc/cdi/*.json /var/run/cdi/*.yaml /var/run/cdi/*.json; do
    [ -f "$spec" ] && grep -Eq '^ *"?kind"?: *"?nvidia\.com/gpu"?,? *$' "$spec" || continue
    echo "spec $spec"
    sed -n 's/^ *\(- \)\{0,1\}"\{0,1\}name"\{0,1\}: *"\{0,1\}\([^",]*\)"\{0,1\},\{0,1\} *$/device \2/p' "$spec"
    sed -n 's/.*"\{0,1\}hostPath"\{0,1\}: *"\{0,1\}\([^",} ]*\).*/\1/p' "$spec" | sort -u | while read -r path; do
      [ -e "$path" ] || echo "missing $path"
    done
  done
  true
}
disks() {
  for path in "$cache" /var/lib/docker /opt/hermeion; do
    dir=$path; while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
    # The size first: asking for it is what mounts an automounted filesystem. Of filesystems that are mounted over each
    # other, such as an automount and what it has mounted, the last is the one that counts.
    size=$(df -B1 --output=size,avail "$dir/" | awk 'NR==2 {print $1, $2}')
    mount=$(findmnt -rno OPTIONS,SOURCE,FSTYPE,TARGET -T "$dir" | tail -n 1)
    writable=yes; case ",${mount%% *}," in *,ro,*) writable=no ;; esac
    echo "$path $size $writable ${mount#* }"
  done
}
engines() {
  # The mark is written when an installation has ended well.
  for mark in /opt/hermeion/engines/*/.complete; do
    [ -f "$mark" ] && { mark=${mark%/.complete}; echo "${mark##*/}"; }
  done
  true
}
unchanged() { # $1 = manifest, $2 = snapshot: whether every file is the one that was checked
  [ -s "$1" ] && find -L "$2" -type f -printf '%i %T@ %s %P\n' | awk -v shared="$shared" '
    shared { sub(/^[0-9]+ /, "") }
    NR == FNR { changed[$0]; next }
    { delete changed[$0] }
    END { status = 0; for (line in changed) status = 1; exit status }' "$1" -
}
weights() {
  # A manifest holds what a finished and checked pull put there: "<inode> <mtime> <size> <path>" per file. Another pull,
  # of other files of the same repository, may have put more there. An inode of a network filesystem is one host's own.
  shared=
  case $(findmnt -no FSTYPE -T "$cache" | tail -n 1) in
    nfs | nfs4 | lustre | ceph | cephfs | wekafs | beegfs | gpfs | fuse.* | 9p | virtiofs | cifs | smb3) shared=1 ;;
  esac
  for folder in "$cache"/hub/models--*; do
    [ -d "$folder" ] || continue
    newest=
    for manifest in "$cache/hermeion/${folder##*/}"@*.manifest; do
      [ -f "$manifest" ] || continue
      name=${manifest##*/}; name=${name%.manifest}; revision=${name##*@}
      if unchanged "$manifest" "$folder/snapshots/${revision%+*}"; then
        echo "$name complete"
        if [ -z "$newest" ] || [ "$manifest" -nt "$newest" ]; then newest=$manifest; fi
      else
        echo "$name damaged"
      fi
    done
    # What a pull that goes on will find: of what is complete only what came later. Small files need no room.
    find "$folder/blobs" -maxdepth 1 -type f -size +2047 ${newest:+-newer "$newest"} -printf '%s %f\n' |
      while read -r blob; do echo "blob ${folder##*/} $blob"; done
  done | awk '!/^blob / || ++blobs <= 2000'
}
files() {
  for file in /etc/hermeion/* /etc/hermeion/*/* /opt/hermeion/*/current/* /opt/hermeion/puller/* \
      /etc/systemd/system/hermeion-*.service /etc/systemd/system/*.d/hermeion.conf /etc/docker/certs.d/*/* \
      /etc/apt/*.d/*hermeion* /etc/apt/preferences.d/nvidia-* /etc/apt/keyrings/hermeion-* /etc/modprobe.d/*hermeion* \
      /etc/yum.repos.d/hermeion-* /etc/dnf/plugins/versionlock.list /var/lib/hermeion/*; do
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
    row=$(systemctl show -p ActiveState,SubState,UnitFileState,NRestarts,NeedDaemonReload,MainPID "$unit" | tr '\n' ' ')
    process=${row##*MainPID=}; process=${process%% *}
    echo "$unit $row$(tr '\0' '\n' < "/proc/$process/environ" | sed -n 's/^HERMEION_RELEASE=/release=/p')"
  done
}

section os os
section pci pci
section smi smi; smi_status=$section_status
section topo topo
section fabric fabric
section driver driver
section packages packages
section repositories repositories
section holders holders
section docker docker_state
section daemon.json daemon_json
section cdi cdi
section disks disks
section engines engines
section weights weights
section files files
section releases releases
section units units
exit 0
