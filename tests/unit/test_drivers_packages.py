"""The names of packages, held against the indices of the archives that have them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hermeion.drivers.fabric import Fabric
from hermeion.drivers.systems import Choice, Source, System, exactly, packages_of
from hermeion.drivers.tables import Archive, archives
from hermeion.drivers.ubuntu import FIRST_KERNEL, SIGNED, kernel_flavour, signed_modules
from hermeion.drivers.versions import upstream

INDEX = tomllib.loads((Path(__file__).parent / "data/package-names.toml").read_text())
FABRIC = Fabric(manager=True, imex=True)


@pytest.mark.parametrize("release", ["22.04", "24.04", "26.04"])
@pytest.mark.parametrize("branch", [580, 595])
@pytest.mark.parametrize("flavour", ["open", "proprietary"])
@pytest.mark.parametrize("signed", ["generic", None])
def test_ubuntu_has_them(release: str, branch: int, flavour: str, signed: str | None) -> None:
    """Ubuntu's restricted and multiverse have every package that is asked of them, signed module or DKMS."""
    choice = Choice.model_validate(
        {
            "system": System(family="ubuntu", release=release, machine="x86_64"),
            "source": "ubuntu",
            "branch": branch,
            "flavour": flavour,
            "fabric": FABRIC,
            "signed": signed,
        }
    )

    asked = [name for name in packages_of(choice, "0-generic") if name != "linux-headers-0-generic"]

    assert [] == [name for name in asked if name not in INDEX[f"ubuntu {release}"]]
    assert len(asked) >= 5


@pytest.mark.parametrize("release", ["12", "13"])
def test_debian_has_them(release: str) -> None:
    """Debian's contrib and non-free have every package of its own driver."""
    choice = Choice(
        system=System(family="debian", release=release, machine="x86_64"),
        source="debian",
        branch=550,
        flavour="proprietary",
        fabric=Fabric(),
    )

    asked = packages_of(choice, "6.12.48+deb13-amd64")

    assert "linux-headers-6.12.48+deb13-amd64" == asked[0]
    assert [] == [name for name in asked[1:] if name not in INDEX[f"debian {release}"]]


@pytest.mark.parametrize("row", archives(), ids=lambda row: f"{row.system}-{row.release}-{row.branch}")
def test_archives_have_the_versions(row: Archive) -> None:
    """The table's versions of the archives' drivers are those of the indices."""
    name = "nvidia-smi" if row.system == "debian" else f"nvidia-utils-{row.branch}-server"

    assert row.version == upstream(INDEX[f"{row.system} {row.release}"][name].split()[0])


@pytest.mark.parametrize(("release", "flavour"), [(r, f) for r, flavours in SIGNED.items() for f in sorted(flavours)])
@pytest.mark.parametrize("module", ["580-server-open", "580-server", "595-server-open", "595-server"])
def test_signed_modules_exist(release: str, flavour: str, module: str) -> None:
    """For the first kernel of each release and each flavour there is the metapackage that is asked for."""
    found = signed_modules(release, f"{FIRST_KERNEL[release]}.0-100-{flavour}", {})

    assert f"linux-modules-nvidia-{module}-{found}" in INDEX[f"ubuntu {release}"]


@pytest.mark.parametrize(
    ("release", "kernel", "packages", "expected"),
    [
        ("24.04", "6.8.0-51-generic", {}, "generic"),
        ("24.04", "6.17.0-42-generic", {}, "generic-hwe-24.04"),
        (
            "24.04",
            "7.0.0-43-generic",
            {"linux-headers-generic-hwe-24.04": "7.0.0-43.43~24.04.1", "linux-headers-7.0.0-43-generic": "7.0.0-43.43"},
            "generic-hwe-24.04",
        ),
        ("24.04", "6.8.0-1070-aws", {"linux-headers-aws-lts-24.04": "6.8.0.1070.76"}, "aws-lts-24.04"),
        ("24.04", "6.8.0-1070-aws", {}, "aws-6.8"),
        ("24.04", "7.0.0-1018-aws", {"linux-headers-aws": "7.0.0-1018.19~24.04.1"}, "aws"),
        ("22.04", "6.8.0-1064-nvidia", {}, "nvidia-hwe-22.04"),
        ("24.04", "6.8.0-51-realtime", {}, None),
        ("24.04", "6.12.1", {}, None),
    ],
)
def test_module_follows_the_kernel(release: str, kernel: str, packages: dict[str, str], expected: str | None) -> None:
    """The metapackage is the one that follows the kernels of the host; none for kernels that are not Ubuntu's own."""
    assert expected == signed_modules(release, kernel, packages)
    assert expected is None or f"linux-modules-nvidia-580-server-open-{expected}" in INDEX[f"ubuntu {release}"]


def test_kernel_flavour() -> None:
    """A kernel's flavour is what stands behind its numbers."""
    assert ("generic", "generic-64k", "") == tuple(
        kernel_flavour(name) for name in ("6.8.0-51-generic", "6.8.0-51-generic-64k", "6.12.48+deb13-amd64")
    )


@pytest.mark.parametrize(
    ("family", "release", "source", "branch", "flavour", "kernel", "expected"),
    [
        (
            "ubuntu", "24.04", "nvidia", 580, "open", "6.8.0-51-generic",
            "nvidia-driver-pinning-580 linux-headers-6.8.0-51-generic nvidia-dkms-580-open libnvidia-compute-580 "
            "nvidia-compute-utils-580 nvidia-utils-580",
        ),
        (
            "ubuntu", "24.04", "nvidia", 595, "proprietary", "6.8.0-51-generic",
            "nvidia-driver-pinning-595 linux-headers-6.8.0-51-generic nvidia-dkms libnvidia-compute "
            "nvidia-compute-utils "
            "nvidia-utils",
        ),
        (
            "rhel", "8", "nvidia", 580, "proprietary", "4.18.0-553.el8_10.x86_64",
            "module:nvidia-driver:580-dkms kernel-devel-4.18.0-553.el8_10.x86_64 dkms kmod-nvidia-latest-dkms "
            "nvidia-driver-cuda nvidia-persistenced",
        ),
        (
            "rhel", "10", "nvidia", 580, "open", "6.12.0-55.el10.x86_64",
            "versionlock:580 kernel-devel-6.12.0-55.el10.x86_64 kernel-devel-matched dkms kmod-nvidia-open-dkms "
            "nvidia-driver-cuda nvidia-persistenced",
        ),
        (
            "rhel", "9", "nvidia", 580, "open", "5.15.0-300.el9uek.x86_64",
            "module:nvidia-driver:580-open kernel-uek-devel-5.15.0-300.el9uek.x86_64 dkms kmod-nvidia-open-dkms "
            "nvidia-driver-cuda nvidia-persistenced",
        ),
    ],
)  # fmt: skip
def test_nvidias_own_names(
    family: str, release: str, source: Source, branch: int, flavour: str, kernel: str, expected: str
) -> None:
    """The names of NVIDIA's repositories, as its installation guides give them."""
    choice = Choice.model_validate(
        {
            "system": {"family": family, "release": release, "machine": "x86_64"},
            "source": source,
            "branch": branch,
            "flavour": flavour,
            "fabric": Fabric(),
        }
    )

    assert tuple(expected.split()) == packages_of(choice, kernel)


def test_exact_version() -> None:
    """A companion is asked for at the driver's version, in any revision of the package."""
    assert "nvidia-fabricmanager=580.95.05-*" == exactly("nvidia-fabricmanager", "580.95.05")
