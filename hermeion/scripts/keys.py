"""Public keys of package repositories: where each is fetched, and the fingerprint that it must have."""

from __future__ import annotations

import shlex

from hermeion.records import Record

FETCH_KEY = """fetch_key() { # $1 = whose, $2 = URL, $3 = fingerprint or sha256:…, $4 = file to write
  new=$(mktemp)
  curl -fsSL -o "$new" "$2" || { rm -f "$new"; fail "the key of $1 cannot be fetched from $2; curl's own line says why."; }
  case $3 in
    sha256:*) found=sha256:$(sed '/^Version/d' "$new" | sha256sum | cut -d' ' -f1) ;;
    *) home=$(mktemp -d)
      found=$(GNUPGHOME=$home gpg --batch --show-keys --with-colons "$new" 2>/dev/null |
        awk -F: '$1 == "pub" { want = 1 } $1 == "fpr" && want { print $10; want = 0 }' | tr '\\n' ' ')
      found=${found% }; rm -rf "$home" ;;
  esac
  if [ "$found" != "$3" ]; then
    rm -f "$new"
    fail "$2 is not the key of $1 that this release knows: it has ${found:-no key in it} instead of $3. Nothing was trusted."
  fi
  install -D -m 0644 "$new" "$4"; rm -f "$new"
}
"""
"""A downloaded key is looked at in a private keyring, and used only if it is the one key that was expected."""


class Key(Record):
    """A repository's signing key.

    Attributes:
        owner: Whose it is, for people.
        fingerprint: 40 hexadecimal digits of the one primary key in the file, or ``sha256:`` and the checksum of the
            file without its line ``Version``, where no source gives the fingerprint.
    """

    owner: str
    url: str
    fingerprint: str

    def fetch(self, path: str) -> str:
        """A command that puts the key to ``path``, or ends the script with a sentence; needs :data:`FETCH_KEY`."""
        return f"fetch_key {shlex.quote(self.owner)} {self.url} {self.fingerprint} {path}\n"


_CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"

# Fingerprints as several public repositories pin them, each independently of the others (November 2026).
TOOLKIT = Key(
    owner="NVIDIA's container toolkit repository",
    url="https://nvidia.github.io/libnvidia-container/gpgkey",
    fingerprint="C95B321B61E88C1809C4F759DDCAE044F796ECB0",
)
# On aarch64 servers no checksum of NVIDIA's keyring package is known here, and the key itself is taken.
CUDA_ARM = Key(
    owner="NVIDIA's CUDA repository",
    url=f"{_CUDA}/ubuntu2404/sbsa/3bf863cc.pub",
    fingerprint="EB693B3035CD5710E231E123A4B469963BF863CC",
)
CUDA_RPM = {
    "8": Key(
        owner="NVIDIA's CUDA repository",
        url=f"{_CUDA}/rhel8/x86_64/D42D0685.pub",
        fingerprint="610C7B14E068A878070DA4E99CD0A493D42D0685",
    ),
    "9": Key(
        owner="NVIDIA's CUDA repository",
        url=f"{_CUDA}/rhel9/x86_64/D42D0685.pub",
        fingerprint="610C7B14E068A878070DA4E99CD0A493D42D0685",
    ),
    # RHEL 10 has a key of its own. Its file is pinned as a public image of CUDA on RHEL 10 pins it.
    "10": Key(
        owner="NVIDIA's CUDA repository",
        url=f"{_CUDA}/rhel10/x86_64/CDF6BA43.pub",
        fingerprint="sha256:afbea87d3b979b3788ef34223aeeb323ade481128e2c133723ae99b8a51368bb",
    ),
}
DOCKER_DEB = {
    name: Key(
        owner="Docker's repository",
        url=f"https://download.docker.com/linux/{name}/gpg",
        fingerprint="9DC858229FC7DD38854AE2D88D81803C0EBFCD88",
    )
    for name in ("debian", "ubuntu")
}
DOCKER_RPM = {
    name: Key(
        owner="Docker's repository",
        url=f"https://download.docker.com/linux/{name}/gpg",
        fingerprint="060A61C51B558A7F742B77AAC52FEB6B621E9F35",
    )
    for name in ("centos", "rhel")
}
# https://fedoraproject.org/security/ ; the same as the images of MariaDB on UBI pin.
EPEL = {
    release: Key(
        owner="EPEL",
        url=f"https://dl.fedoraproject.org/pub/epel/RPM-GPG-KEY-EPEL-{release}",
        fingerprint=fingerprint,
    )
    for release, fingerprint in (
        ("8", "94E279EB8D8F25B21810ADF121EA45AB2F86D6A1"),
        ("9", "FF8AD1344597106ECE813B918A3872BF3228467C"),
        ("10", "7D8D15CBFC4E62688591FB2633D98517E37ED158"),
    )
}
