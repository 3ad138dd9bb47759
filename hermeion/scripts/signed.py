"""Ubuntu's signed modules: those for the running kernel, those that follow its next kernels, or both."""

from __future__ import annotations

import re

from hermeion.scripts.dkms import NEWEST_KERNEL


def signed_functions(follower: str) -> str:
    """Shell functions, ``choose_signed`` first of all.

    Args:
        follower: One of Ubuntu's metapackages, ``linux-modules-nvidia-580-server-open-generic``. It stands for the newest
            kernel of the archive, which need not be the running one.
    """
    match = re.match(r"linux-modules-nvidia-\d+(-server)?(-open)?-", follower)
    prefix = match[0] if match else follower
    return f"follower={follower}\nprefix={prefix}\n{NEWEST_KERNEL}{_FUNCTIONS}"


_FUNCTIONS = """signed_kernels() { printf '%s\\n' "$(uname -r)" "$(newest_kernel)" | sort -u; }
exact_modules() { # packages for exactly the kernels that are here
  for kernel in $(signed_kernels); do
    [ -n "$(missing "$prefix$kernel")" ] || echo "$prefix$kernel"
  done
}
extra_modules() { # part of a kernel's drivers is in a package of its own: a kernel that comes along gets it if the running one has it
  dpkg-query -W "linux-modules-extra-$(uname -r)" >/dev/null 2>&1 || return 0
  for kernel in $(printf '%s\\n' "$said" | sed -n 's/^Inst linux-image-\\(unsigned-\\)\\{0,1\\}\\([0-9][^ ]*\\) .*/\\2/p'); do
    [ -n "$(missing "linux-modules-extra-$kernel")" ] || echo "linux-modules-extra-$kernel"
  done
}
choose_signed() { # $@ = the other packages; sets modules to what fits them, and fetches it all
  exact=$(exact_modules | tr '\\n' ' ')
  # With both the module loads without a reboot and follows the next kernels. The second is for a mirror that names a
  # package before it has it, the third for a kernel whose modules are older than the rest of the driver.
  for modules in "$follower $exact" "$exact" "$follower"; do
    [ -n "$modules" ] || continue
    # shellcheck disable=SC2086 # words
    said=$(apt -s install -y --no-install-recommends $modules "$@" 2>&1) || continue
    modules="$modules $(extra_modules | tr '\\n' ' ')"
    # shellcheck disable=SC2086 # words
    if apt install -y --no-install-recommends --download-only $modules "$@"; then return 0; fi
    said=
  done
  return 1
}
"""

CHOOSE_SIGNED = """if ! choose_signed "$@"; then
  printf '%s\\n' "$said" | grep -v '^[dp][lm]status:' | tail -n 12
  fail "the driver's packages and the signed modules for kernel $(uname -r) do not fit this host or cannot be fetched; apt's own lines say why. Nothing was installed."
fi
headers=$modules
"""

CHECK_SIGNED = """kernel=$(newest_kernel)
if ! find "/lib/modules/$kernel/kernel" -name 'nvidia.ko*' 2>/dev/null | grep -q .; then
  fail "kernel $kernel is installed, the next boot takes it, and the archive has no $prefix$kernel that can be installed: it would have no driver. Run again when the archive has it, or remove that kernel."
fi
"""
