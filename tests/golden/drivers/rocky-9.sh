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
export LC_ALL=C
type fail >/dev/null 2>&1 || fail() { echo "$1"; exit 1; }
dnf() { # dnf waits for another package manager by itself; what it says meanwhile is shown
  told=$(mktemp)
  { if flock -o /run/hermeion/apt.lock dnf -y --setopt=install_weak_deps=False "$@" </dev/null 2>&1; then echo 0 > "$told"; else echo $? > "$told"; fi; } |
    while IFS= read -r line; do
      case $line in
        "Waiting for process with pid"*)
          pid=${line#*pid }; pid=${pid%% *}
          echo "##note waiting for another package manager ($pid, $(cat "/proc/$pid/comm" 2>/dev/null))" ;;
        *Downloading*|*Installing*|*Upgrading*|*Running*|*Cleanup*|*Verifying*|\(*/*\):*)
          echo "##note $(echo "$line" | tr -s ' ' | cut -c1-90)" ;;
        *) printf '%s\n' "$line" ;;
      esac
    done
  ended=$(cat "$told"); rm -f "$told"
  return "${ended:-1}"
}
missing() { # those of the packages that are neither here nor in a repository
  for wanted in "$@"; do command dnf -q list "$wanted" >/dev/null 2>&1 || echo "$wanted"; done
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
need() {
  for tool in "$@"; do rpm -q --quiet --whatprovides "$tool" || { dnf install "$@"; return; }; done
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
last_transaction() { command dnf -q history list 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $1; exit }'; }
check_headers() { # $1 = package with the headers of exactly the running kernel
  [ -n "$(missing "$1")" ] || return 0
  newest=$(command dnf -q list --showduplicates kernel-devel 2>/dev/null | awk '$1 ~ /^kernel-devel/ { print $2 }' | sort -V | tail -n 1)
  fail "the running kernel $(uname -r) has no headers in the repositories any more (newest: ${newest:-none}). Reboot into the newest kernel (dnf upgrade kernel), then run again. Nothing was installed."
}
dnf makecache
check_headers kernel-devel-5.14.0-570.el9_6.x86_64
if ! command dnf -q repolist | grep -q '^epel'; then
need curl gnupg2
fetch_key EPEL https://dl.fedoraproject.org/pub/epel/RPM-GPG-KEY-EPEL-9 FF8AD1344597106ECE813B918A3872BF3228467C /etc/pki/rpm-gpg/RPM-GPG-KEY-hermeion-epel
put() { # $1 = path, $2 = mode, $3 = owner, $4 = content in base64
  [ -d "${1%/*}" ] || mkdir -p -m 0755 "${1%/*}"
  t=$(umask 077; mktemp "$1.XXXXXX") && printf %s "$4" | base64 -d > "$t" && chmod "$2" "$t" && chown "$3" "$t" &&
    sync "$t" && mv -fT "$t" "$1" || { rm -f "$t"; return 1; }
}
put /etc/yum.repos.d/hermeion-epel.repo 0644 root:root …
fi
need curl gnupg2
fetch_key 'NVIDIA'"'"'s CUDA repository' https://developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64/D42D0685.pub 610C7B14E068A878070DA4E99CD0A493D42D0685 /etc/pki/rpm-gpg/RPM-GPG-KEY-hermeion-nvidia
put() { # $1 = path, $2 = mode, $3 = owner, $4 = content in base64
  [ -d "${1%/*}" ] || mkdir -p -m 0755 "${1%/*}"
  t=$(umask 077; mktemp "$1.XXXXXX") && printf %s "$4" | base64 -d > "$t" && chmod "$2" "$t" && chown "$3" "$t" &&
    sync "$t" && mv -fT "$t" "$1" || { rm -f "$t"; return 1; }
}
put /etc/yum.repos.d/hermeion-nvidia.repo 0644 root:root …
dnf makecache
need python3-dnf-plugin-versionlock
command dnf -q versionlock delete 'nvidia-driver*' 'kmod-nvidia*' 'libnvidia-*' 'nvidia-fabricmanager*' 'nvidia-imex*' 'nvidia-persistenced*' >/dev/null 2>&1 || true
was=$(last_transaction)
enabled=$(command dnf -q module list --enabled nvidia-driver 2>/dev/null | awk '$1 == "nvidia-driver" { print $2; exit }')
case $enabled in
  "") dnf module enable nvidia-driver:580-open ;;
  580-open) ;;
  *) dnf module switch-to nvidia-driver:580-open --allowerasing ;;
esac
more=
newest=$(newest_kernel)
if [ "$newest" != "$(uname -r)" ] && [ ! -e "/lib/modules/$newest/build/Makefile" ]; then
  if [ -z "$(missing "kernel-devel-$newest")" ]; then more=kernel-devel-$newest
  else echo "kernel $newest is installed, the next boot takes it, and no repository has kernel-devel-$newest: it will have no driver"; fi
fi
none=$(missing kernel-devel-5.14.0-570.el9_6.x86_64 kernel-devel-matched dkms kmod-nvidia-open-dkms nvidia-driver-cuda nvidia-persistenced | tr '\n' ' ')
[ -z "$none" ] || fail "no repository of this host has ${none% }. Nothing was installed."
undo() { # back to what was there before, which the repositories still have
  echo "##note cleaning up"
  [ "$(last_transaction)" = "$was" ] || dnf history rollback "$was" || fail "$1. What was there before could not be brought back: dnf history rollback $was"
  fail "$1. The host's packages are those of before."
}
dnf install --allowerasing kernel-devel-5.14.0-570.el9_6.x86_64 kernel-devel-matched dkms kmod-nvidia-open-dkms nvidia-driver-cuda nvidia-persistenced $more || undo "dnf could not install the driver; its own lines say why"
why=$(check_builds) || undo "$why"
# shellcheck disable=SC2046 # words
command dnf -q versionlock add $(rpm -qa --qf '%{NAME}\n' 'nvidia-driver*' 'kmod-nvidia*' 'libnvidia-*' 'nvidia-fabricmanager*' 'nvidia-imex*' 'nvidia-persistenced*' | sort -u) >/dev/null
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
installed=$(modinfo -F version nvidia 2>/dev/null || modinfo -F version nvidia-current-open 2>/dev/null || modinfo -F version nvidia-current 2>/dev/null || true)
if ! modprobe nvidia; then
  echo "a reboot is needed: the module cannot be loaded yet"
elif [ -n "$installed" ] && [ "$(cat /sys/module/nvidia/version 2>/dev/null)" != "$installed" ]; then
  echo "a reboot is needed: module $(cat /sys/module/nvidia/version 2>/dev/null) is loaded, $installed is installed"
else
  systemctl restart nvidia-persistenced || echo "##note nvidia-persistenced: not started yet"
  echo "no reboot is needed"
fi

--- /var/lib/hermeion/driver-transaction 0644
{"action": "install", "branch": 580, "finish": false, "flavour": "open", "packages": ["module:nvidia-driver:580-open", "kernel-devel-5.14.0-570.el9_6.x86_64", "kernel-devel-matched", "dkms", "kmod-nvidia-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced"], "purge": [], "reason": "no driver answers", "reboot": null, "remarks": [], "source": "nvidia", "units": ["nvidia-persistenced"], "version": null}

--- /etc/yum.repos.d/hermeion-epel.repo 0644
[hermeion-epel]
name=hermeion-epel
baseurl=https://dl.fedoraproject.org/pub/epel/9/Everything/x86_64/
enabled=1
gpgcheck=1
repo_gpgcheck=0
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-hermeion-epel
includepkgs=dkms

--- /etc/yum.repos.d/hermeion-nvidia.repo 0644
[hermeion-nvidia]
name=hermeion-nvidia
baseurl=https://developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64/
enabled=1
gpgcheck=1
repo_gpgcheck=0
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-hermeion-nvidia
