"""The driver's module as DKMS builds it: tried before a driver that works is replaced, looked at afterwards."""

from __future__ import annotations

NEWEST_KERNEL = """newest_kernel() { # the kernel that the next boot takes
  {
    uname -r
    for folder in /lib/modules/*; do
      kernel=${folder##*/}
      if [ -e "/boot/vmlinuz-$kernel" ] || [ -e "$folder/vmlinuz" ]; then echo "$kernel"; fi
    done
  } | sort -V | tail -n 1
}
"""

DKMS = (
    NEWEST_KERNEL
    + """kernels() { # the running one and the newest one, if modules can be built for it
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
"""
)

TRIAL = """try_build() { # $1 = package with the module's source: built beside the one that works, so that a failure costs nothing
  # shellcheck disable=SC2086 # words
  apt install -y --no-install-recommends dkms $headers || give_up "what builds modules cannot be installed; apt's own lines say why"
  trial=$(mktemp -d)
  chmod 0755 "$trial"
  (cd "$trial" && apt download "$1" >/dev/null && dpkg-deb -x ./*.deb root) || { rm -rf "$trial"; fail "$1 cannot be fetched; apt's own lines say why. The driver that is here was not touched."; }
  for conf in "$trial"/root/usr/src/*/dkms.conf; do
    [ -f "$conf" ] || continue
    name=$(sed -n 's/^PACKAGE_NAME="\\{0,1\\}\\([^"]*\\)"\\{0,1\\}.*/\\1/p' "$conf")
    version=$(sed -n 's/^PACKAGE_VERSION="\\{0,1\\}\\([^"]*\\)"\\{0,1\\}.*/\\1/p' "$conf")
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
"""
"""apt replaces a driver before it builds the new module; a build in a folder of its own says whether that would work."""
