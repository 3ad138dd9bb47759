"""Ubuntu's signed kernel modules: which of its metapackages follows the kernel of a host."""

from __future__ import annotations

import re
from collections.abc import Mapping

SIGNED = {
    "22.04": frozenset({"generic", "lowlatency", "aws", "azure", "gcp", "nvidia", "oracle"}),
    "24.04": frozenset(
        {"generic", "lowlatency", "aws", "azure", "gcp", "gke", "ibm", "nvidia", "oracle", "vmware"},
    ),
    "26.04": frozenset({"generic", "aws", "azure", "gcp", "gke", "ibm", "nvidia", "oracle", "vmware"}),
}
"""Kernel flavours that ``linux-modules-nvidia-580-server-open-<flavour>`` exists for (restricted, amd64)."""

FIRST_KERNEL = {"22.04": "5.15", "24.04": "6.8", "26.04": "7.0"}
"""Series of the kernel that a release came with; ``generic`` stays with it."""


def kernel_flavour(kernel: str) -> str:
    """``generic`` of ``6.8.0-51-generic``; empty: not one of Ubuntu's kernels."""
    match = re.fullmatch(r"\d+\.\d+\.\d+-\d+-([a-z][a-z0-9-]*)", kernel)
    return match[1] if match else ""


def signed_modules(release: str, kernel: str, packages: Mapping[str, str]) -> str | None:
    """The end of the name of the metapackage that follows the host's kernel: ``generic-hwe-24.04``.

    The metapackage of the headers tells which kernels the host follows. Without one: the release's first kernel by the
    flavour alone, a newer generic one by HWE's name, and a cloud's by its series.

    Returns:
        ``None`` where Ubuntu has no signed modules for this kernel.
    """
    flavour = kernel_flavour(kernel)
    if flavour not in SIGNED.get(release, frozenset()):
        return None
    series = ".".join(kernel.split(".")[:2])
    followed = sorted(
        name.removeprefix("linux-headers-")
        for name, version in packages.items()
        if re.fullmatch(rf"linux-headers-{flavour}(-hwe-[\d.]+|-lts-[\d.]+)?", name)
        and version.startswith(f"{series}.")
    )
    if followed:
        return followed[-1]
    if series == FIRST_KERNEL[release] and flavour in {"generic", "lowlatency", "nvidia"}:
        return flavour
    return f"{flavour}-hwe-{release}" if flavour in {"generic", "nvidia"} else f"{flavour}-{series}"
