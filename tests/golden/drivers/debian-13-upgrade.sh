set -eu
host=gpu-1
fail() { # $1 = a sentence, which is enough for a person unless it points at the lines before it
  case $1 in *"own line"*) echo "$host: $1" ;; *) echo "##error $host: $1" ;; esac
  rm -f "$marker"; exit 1
}
marker=/var/lib/hermeion/driver-transaction
put() { # $1 = path, $2 = mode, $3 = owner, $4 = content in base64
  [ -d "${1%/*}" ] || mkdir -p -m 0755 "${1%/*}"
  t=$(umask 077; mktemp "$1.XXXXXX") && printf %s "$4" | base64 -d > "$t" && chmod "$2" "$t" && chown "$3" "$t" &&
    sync "$t" && mv -fT "$t" "$1" || { rm -f "$t"; return 1; }
}
put /var/lib/hermeion/driver-transaction 0644 root:root …
export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_MODE=l APT_LISTCHANGES_FRONTEND=none
type fail >/dev/null 2>&1 || fail() { echo "##error $1"; exit 1; }
lock_holder() { # "PID, name" of a process that has one of the package managers' locks open
  [ -e /var/lib/dpkg/lock-frontend ] || return 1
  holder=$(find /proc/[0-9]*/fd \( -lname /var/lib/dpkg/lock-frontend -o -lname /var/lib/dpkg/lock \
    -o -lname /var/lib/apt/lists/lock -o -lname /var/cache/apt/archives/lock \) 2>/dev/null | head -n 1)
  [ -n "$holder" ] || return 1
  holder=${holder#/proc/}; holder=${holder%%/*}
  echo "$holder, $(cat "/proc/$holder/comm" 2>/dev/null)"
}
wait_for_lock() {
  waited=0
  while held=$(lock_holder); do
    echo "##note waiting for another package manager ($held)"
    [ "$waited" -lt 1800 ] || fail "another package manager ($held) has held its lock for half an hour. See what it does (ps ${held%%,*}), then run again."
    sleep 2; waited=$((waited + 2))
  done
}
apt_sources=''
share_sources() { :; }
apt() {
  wait_for_lock; share_sources
  # What a package starts must not inherit the lock: flock -o.
  # shellcheck disable=SC2086 # words
  flock -o /run/hermeion/apt.lock apt-get -q $apt_sources -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold -o APT::Status-Fd=1 "$@" </dev/null
}
# shellcheck disable=SC2086 # words
apt_index() { apt-cache $apt_sources "$@"; }
candidate() { apt_index policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -vxF '(none)'; }
missing() { # those of the packages (name or name=version) that no source has
  for wanted in "$@"; do
    case $wanted in
      *=*) apt_index show "$wanted" 2>/dev/null | grep -q . || echo "$wanted" ;; # its status is 0 for a version that is not there
      *) [ -n "$(candidate "$wanted")" ] || echo "$wanted" ;;
    esac
  done
}
fetch_key() { # $1 = whose, $2 = URL, $3 = fingerprint or sha256:…, $4 = file to write
  new=$(mktemp)
  curl -fsSL -o "$new" "$2" || { rm -f "$new"; fail "the key of $1 cannot be fetched from $2; curl's own line says why."; }
  case $3 in
    sha256:*) found=sha256:$(sed '/^Version/d' "$new" | sha256sum | cut -d' ' -f1) ;;
    *) home=$(mktemp -d)
      found=$(GNUPGHOME=$home gpg --batch --show-keys --with-colons "$new" 2>/dev/null |
        awk -F: '$1 == "pub" { want = 1 } $1 == "fpr" && want { print $10; want = 0 }' | tr '\n' ' ')
      found=${found% }; rm -rf "$home" ;;
  esac
  if [ "$found" != "$3" ]; then
    rm -f "$new"
    fail "$2 is not the key of $1 that this release knows: it has ${found:-no key in it} instead of $3. Nothing was trusted."
  fi
  install -D -m 0644 "$new" "$4"; rm -f "$new"
}
need() { # installs what is missing of a few tools
  for tool in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$tool" 2>/dev/null | grep -q '^[ih]i' && continue
    apt update; apt install -y --no-install-recommends "$@"; return
  done
}
has_source() { # whether a list that is not ours names this repository
  # shellcheck disable=SC2046 # names without spaces
  grep -qsF -- "$1" /etc/apt/sources.list $(find /etc/apt/sources.list.d -name '*.list' -o -name '*.sources' | grep -v '/hermeion-')
}
half_configured() { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | awk '$1 !~ /^(ii|rc|un|hi|pn)$/ { print $2 }'; }
clean() { # nothing half-configured stays: every later call of apt would fail with it
  ours=$(half_configured | grep -E '^(nvidia-|libnvidia-|linux-modules-nvidia-|linux-objects-nvidia-|linux-signatures-nvidia-|cuda-drivers|libcuda1|libnvsdm|nvlsm|firmware-nvidia)' | tr '\n' ' ')
  # shellcheck disable=SC2086 # words
  [ -z "$ours" ] || apt purge -y $ours || true
  wait_for_lock; dpkg --configure -a || true
  left=$(half_configured | tr '\n' ' ')
  if [ -n "$left" ] || ! apt-get -q check >/dev/null; then
    echo "$host: dpkg could not be repaired: ${left:-apt-get check fails}; see dpkg --audit"; exit 1
  fi
}
purge() { # those of the packages that are still here, in one call: each alone would have dpkg configure the others
  here=
  for package in "$@"; do
    if dpkg-query -W "$package" >/dev/null 2>&1; then here="$here $package"; fi
  done
  # shellcheck disable=SC2086 # words
  [ -z "$here" ] || apt purge -y $here
}
give_up() { # $1 = why
  echo "##note cleaning up"
  clean
  fail "$1. dpkg is in order again${ours:+ (purged: ${ours% })}."
}
flavour=$(uname -r | sed 's/^[0-9][^-]*-//; s/^[0-9]*-//')
newest_of() { # $1 = beginning of a package's name: the newest one of this kernel's flavour that a source has
  apt_index search --names-only "^$1[0-9].*-$flavour\$" 2>/dev/null | cut -d' ' -f1 | sort -V | tail -n 1
}
check_headers() { # $1 = package with the headers of exactly the running kernel
  [ -n "$(missing "$1")" ] || return 0
  newest=$(newest_of linux-headers-)
  fail "the running kernel $(uname -r) has no $1 in the archive any more (newest: ${newest:-none}). Reboot into the newest kernel (apt-get install linux-image-$flavour), then run again. Nothing was installed."
}
newest_kernel() { # the kernel that the next boot takes
  {
    uname -r
    for folder in /lib/modules/*; do
      kernel=${folder##*/}
      if [ -e "/boot/vmlinuz-$kernel" ] || [ -e "$folder/vmlinuz" ]; then echo "$kernel"; fi
    done
  } | sort -V | tail -n 1
}
kernels() { # the running one and the newest one, if modules can be built for it
  uname -r
  newest=$(newest_kernel)
  if [ "$newest" != "$(uname -r)" ] && [ -e "/lib/modules/$newest/build/Makefile" ]; then echo "$newest"; fi
}
built_for() { dkms status -k "$1" 2>/dev/null | grep -q '^nvidia[^:]*: installed'; }
why_not_built() { # $1 = folder with DKMS's builds, $2 = kernel; keeps the log, whose place a purge takes away
  log=/var/log/hermeion/make-$2.log
  mkdir -p /var/log/hermeion
  # shellcheck disable=SC2012 # names without spaces, and the newest first
  made=$(ls -t "$1"/nvidia*/*/build/make.log "$1"/nvidia*/*/"$2"/*/log/make.log 2>/dev/null | head -n 1)
  [ -z "$made" ] || cp "$made" "$log"
  first=$(grep -m 1 'error:' "$log" 2>/dev/null || grep -m 1 -i 'error' "$log" 2>/dev/null || echo "no build was begun (dkms status: $(dkms status 2>&1 | grep '^nvidia' | head -n 1))")
  echo "the driver's module cannot be built for kernel $2: ${first#"${first%%[! ]*}"}; the whole log is $log"
}
check_builds() { # fails with a sentence at the first kernel without the module
  for kernel in $(kernels); do
    built_for "$kernel" || { why_not_built /var/lib/dkms "$kernel"; return 1; }
  done
}
rm -f /etc/apt/sources.list.d/hermeion-nvidia.sources /etc/apt/apt.conf.d/50hermeion-nvidia
if ! has_source developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/; then
  need curl ca-certificates
  package=$(mktemp)
  curl -fsSL -o "$package" https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/cuda-keyring_1.1-1_all.deb || fail "NVIDIA's repository is not reached; curl's own line says why. A site without internet names a mirror in hermes_mirrors/apt/nvidia."
  if ! echo "dd28f1f6ba0038180d6b23f846cefca1e3de4c9327751665241370bacea452a1  $package" | sha256sum -c --status; then
    rm -f "$package"; fail "NVIDIA changed the package cuda-keyring_1.1-1_all.deb: its SHA-256 is not dd28f1f6ba0038180d6b23f846cefca1e3de4c9327751665241370bacea452a1. Nothing was trusted."
  fi
  wait_for_lock; dpkg -i "$package"; rm -f "$package"
fi
put() { # $1 = path, $2 = mode, $3 = owner, $4 = content in base64
  [ -d "${1%/*}" ] || mkdir -p -m 0755 "${1%/*}"
  t=$(umask 077; mktemp "$1.XXXXXX") && printf %s "$4" | base64 -d > "$t" && chmod "$2" "$t" && chown "$3" "$t" &&
    sync "$t" && mv -fT "$t" "$1" || { rm -f "$t"; return 1; }
}
put /etc/apt/apt.conf.d/51hermeion-nvidia 0644 root:root …
apt update
[ -e "/lib/modules/$(uname -r)/build/Makefile" ] || check_headers linux-headers-6.12.48+deb13-amd64
none=$(missing nvidia-driver-pinning-580 nvidia-kernel-open-dkms nvidia-driver-cuda nvidia-persistenced | tr '\n' ' ')
[ -z "$none" ] || fail "no source of packages on this host has ${none% }. Nothing was installed."
apt install -y --no-install-recommends nvidia-driver-pinning-580
chosen=$(candidate nvidia-kernel-open-dkms); chosen=${chosen#*:}
[ "${chosen%%.*}" = 580 ] || fail "the pin to branch 580 does not hold: apt would install nvidia-kernel-open-dkms $chosen. Look into /etc/apt/preferences.d."
chosen=$(candidate nvidia-driver-cuda); chosen=${chosen#*:}
[ "${chosen%%.*}" = 580 ] || fail "the pin to branch 580 does not hold: apt would install nvidia-driver-cuda $chosen. Look into /etc/apt/preferences.d."
set -- nvidia-kernel-open-dkms nvidia-driver-cuda nvidia-persistenced
headers=
[ -n "$(missing linux-headers-6.12.48+deb13-amd64)" ] || headers=linux-headers-6.12.48+deb13-amd64
newest=$(newest_kernel)
if [ "$newest" != "$(uname -r)" ] && [ ! -e "/lib/modules/$newest/build/Makefile" ]; then
  if [ -z "$(missing "linux-headers-$newest")" ]; then headers="$headers linux-headers-$newest"
  else echo "kernel $newest is installed, the next boot takes it, and no source has linux-headers-$newest: it will have no driver"; fi
fi
# shellcheck disable=SC2086 # words
if ! said=$(apt -s install -y --no-install-recommends "$@" $headers 2>&1); then
  printf '%s\n' "$said" | grep -v '^[dp][lm]status:' | tail -n 12
  fail "the driver's packages do not fit this host's; apt's own lines say why. Nothing was installed."
fi
try_build() { # $1 = package with the module's source: built beside the one that works, so that a failure costs nothing
  # shellcheck disable=SC2086 # words
  apt install -y --no-install-recommends dkms $headers || give_up "what builds modules cannot be installed; apt's own lines say why"
  trial=$(mktemp -d)
  chmod 0755 "$trial"
  (cd "$trial" && apt download "$1" >/dev/null && dpkg-deb -x ./*.deb root) || { rm -rf "$trial"; fail "$1 cannot be fetched; apt's own lines say why. The driver that is here was not touched."; }
  for conf in "$trial"/root/usr/src/*/dkms.conf; do
    [ -f "$conf" ] || continue
    name=$(sed -n 's/^PACKAGE_NAME="\{0,1\}\([^"]*\)"\{0,1\}.*/\1/p' "$conf")
    version=$(sed -n 's/^PACKAGE_VERSION="\{0,1\}\([^"]*\)"\{0,1\}.*/\1/p' "$conf")
    mkdir -p "$trial/tree"
    for kernel in $(kernels); do
      echo "##note trying to build $name $version for kernel $kernel"
      if ! dkms build --dkmstree "$trial/tree" --sourcetree "$trial/root/usr/src" -m "$name" -v "$version" -k "$kernel" >/dev/null 2>&1; then
        why=$(why_not_built "$trial/tree" "$kernel"); rm -rf "$trial"
        fail "$why. The driver that is here was not touched."
      fi
    done
  done
  rm -rf "$trial"
}
try_build nvidia-kernel-open-dkms
# shellcheck disable=SC2086 # words
if ! apt install -y --no-install-recommends "$@" $headers; then
  why=$(check_builds) && why="apt could not install the driver; its own lines say why"
  give_up "$why"
fi
why=$(check_builds) || {
  # The packages are whole, the module is not: what builds it goes, or every later build would fail with it.
  echo "##note cleaning up"
  # shellcheck disable=SC2046 # words
  apt purge -y $(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | awk '$1 == "ii" && $2 ~ /^nvidia.*dkms/ && $2 !~ /no-dkms/ { print $2 }')
  clean
  fail "$why. The packages that build it were purged."
}
if [ -d /sys/module/nouveau ] && ! grep -rqs --exclude=hermeion-nouveau.conf '^blacklist nouveau' /etc/modprobe.d /usr/lib/modprobe.d /lib/modprobe.d; then
  printf 'blacklist nouveau\noptions nouveau modeset=0\n' > /etc/modprobe.d/hermeion-nouveau.conf
  if command -v update-initramfs >/dev/null; then update-initramfs -u -k all; else command dracut --force --regenerate-all; fi
fi
unit=/usr/lib/systemd/system/nvidia-persistenced.service
[ -e "$unit" ] || unit=/lib/systemd/system/nvidia-persistenced.service
if grep -qs -e ' --no-persistence-mode' "$unit"; then
  own=/etc/systemd/system/nvidia-persistenced.service.d
  mkdir -p "$own"
  {
    echo "# Ubuntu's unit starts with persistence off, stops when nobody needs it, and cannot be enabled."
    printf '[Unit]\nStopWhenUnneeded=no\n[Service]\nExecStart=\n'
    sed -n 's/^\(ExecStart=.*\) --no-persistence-mode/\1/p' "$unit"
    printf '[Install]\nWantedBy=multi-user.target\n'
  } > "$own/.hermeion.conf"
  mv -f "$own/.hermeion.conf" "$own/hermeion.conf"
fi
systemctl enable --quiet --no-reload nvidia-persistenced
rm -f /var/lib/hermeion/driver-transaction
echo 'a reboot is needed: driver 550.163.01 is loaded, and another one is installed'

--- /var/lib/hermeion/driver-transaction 0644
{"action": "upgrade", "branch": 580, "finish": false, "flavour": "open", "packages": ["nvidia-driver-pinning-580", "linux-headers-6.12.48+deb13-amd64", "nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced"], "purge": [], "reason": "no driver answers", "reboot": "driver 550.163.01 is loaded, and another one is installed", "remarks": [], "source": "nvidia", "units": ["nvidia-persistenced"], "version": null}

--- /etc/apt/apt.conf.d/51hermeion-nvidia 0644
// A driver that is upgraded under running containers takes their GPUs away; apt upgrade by hand still does it.
Unattended-Upgrade::Package-Blacklist { "^nvidia-"; "^libnvidia-"; "^linux-modules-nvidia-"; "^cuda-"; "^libcuda1"; "^libnvsdm"; "^nvlsm"; };
