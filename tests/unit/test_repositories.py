"""Where packages come from, and the keys that they are signed with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermeion.runtime.toolkit import old_lists
from hermeion.scripts import keys as known
from hermeion.scripts.apt import apt_options
from hermeion.scripts.components import debian_components
from hermeion.scripts.repositories import (
    KEYRING_SHA256,
    docker_repository,
    epel_repository,
    nvidia_repository,
    toolkit_repository,
)
from tests.unit.builders import make_probe, make_spec
from tests.unit.hosts import decoded
from tests.unit.test_driver_scripts import CA, DEBIAN_13, KEYS, MIRRORS, RHEL_8, ROCKY_9, UBUNTU_24, System

FAIL = 'set -eu\nfail() { echo "$1"; exit 1; }\n'


def texts(system: System, mirrors: dict[str, Any] | None = None) -> str:
    """Everything that is written for the repositories of a system."""
    spec, probe = make_spec(hermes_mirrors=mirrors or {}), make_probe(**system.answers)
    ask: dict[str, Any] = {"ca": CA if mirrors else None, "keys": KEYS}
    parts = [nvidia_repository, toolkit_repository, docker_repository]
    return decoded("".join(part(spec, probe, **ask) for part in parts))


@pytest.mark.parametrize(
    ("system", "lines"),
    [
        (DEBIAN_13, ["URIs: https://download.docker.com/linux/debian/", "Suites: trixie", "Components: stable",
                     "URIs: https://nvidia.github.io/libnvidia-container/stable/deb/amd64/"]),
        (UBUNTU_24, ["URIs: https://download.docker.com/linux/ubuntu/", "Suites: noble"]),
        (RHEL_8, ["baseurl=https://developer.download.nvidia.com/compute/cuda/repos/rhel8/x86_64/", "gpgcheck=1",
                  "baseurl=https://download.docker.com/linux/rhel/8/x86_64/stable/"]),
        (ROCKY_9, ["baseurl=https://nvidia.github.io/libnvidia-container/stable/rpm/x86_64/", "repo_gpgcheck=1",
                   "baseurl=https://download.docker.com/linux/centos/9/x86_64/stable/"]),
    ],
)  # fmt: skip
def test_repositories(system: System, lines: list[str]) -> None:
    """Each system gets its own vendor's repositories, with a check of signatures."""
    assert [] == [line for line in lines if line not in texts(system).splitlines()]


def test_mirrors_replace_everybody() -> None:
    """With mirrors nothing is asked of NVIDIA: driver and toolkit both come from the mirror, by the site's CA."""
    text = texts(DEBIAN_13, MIRRORS)

    assert "nvidia.com" not in text
    assert "nvidia.github.io" not in text
    assert "URIs: https://apt.mirror/nvidia/\nSuites: ./\nSigned-By: /etc/apt/keyrings/hermeion-nvidia.asc\n" in text
    assert 'Acquire::https::apt.mirror::CAInfo "/etc/hermeion/ca.pem";' in text


def test_distribution_mirror_is_private() -> None:
    """The distribution's mirror is read by our calls alone: the host's sources and lists are not theirs."""
    options = apt_options(make_spec(hermes_mirrors=MIRRORS))

    assert "-o Dir::Etc::SourceParts=/etc/hermeion/apt/sources.list.d" in options
    assert "-o Dir::State::Lists=/var/lib/hermeion/apt/lists" in options
    assert "" == apt_options(make_spec())


def test_pins_have_their_form() -> None:
    """Every pin is a whole SHA-256 or a whole fingerprint."""
    pinned = [known.TOOLKIT, *known.CUDA_RPM.values(), *known.DOCKER_DEB.values(), *known.DOCKER_RPM.values()]
    pinned += [known.CUDA_ARM, *known.EPEL.values()]

    assert [] == [key.url for key in pinned if not re.fullmatch(r"[0-9A-F]{40}|sha256:[0-9a-f]{64}", key.fingerprint)]
    assert [] == [value for value in KEYRING_SHA256.values() if not re.fullmatch(r"[0-9a-f]{64}", value)]


def test_epel_gives_dkms_alone() -> None:
    """EPEL that we add may not replace anything of the host's."""
    text = decoded(epel_repository(make_spec(), make_probe(**ROCKY_9.answers), ca=None, keys=KEYS))

    assert "includepkgs=dkms\n" in text


def test_old_lists_are_named() -> None:
    """Lists of older guides that apt would refuse beside ours are named once each; others are not."""
    folder = "/etc/apt/sources.list.d"
    rows = [
        f"{folder}/{name}: deb https://nvidia.github.io/x"
        for name in ("nvidia-docker.list", "libnvidia-container.list", "cuda.list")
    ]

    assert (f"{folder}/nvidia-docker.list", f"{folder}/libnvidia-container.list") == old_lists(
        make_probe(repositories=[*rows, rows[0]])
    )


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed on this machine")
@pytest.mark.parametrize("right", [True, False])
def test_key_is_checked(tmp_path: Path, right: bool) -> None:
    """A key is written if its fingerprint is the expected one; another key ends the script with one sentence."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}

    def gpg(*arguments: str) -> str:
        command = ["gpg", "--batch", "--quiet", "--passphrase", "", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    gpg("--quick-generate-key", "Test <t@example.invalid>", "rsa2048", "sign", "never")
    (tmp_path / "key.asc").write_text(gpg("--armor", "--export"))
    fingerprint = next(
        row.split(":")[9] for row in gpg("--with-colons", "--list-keys").splitlines() if row[:3] == "fpr"
    )
    expected = fingerprint if right else "0" * 40
    key = known.Key(owner="a test", url=f"file://{tmp_path}/key.asc", fingerprint=expected)
    target = tmp_path / "keyrings" / "x.asc"
    script = FAIL + known.FETCH_KEY + key.fetch(str(target))
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)

    assert (0 if right else 1, right) == (done.returncode, target.exists())
    said = f"{key.url} is not the key of a test that this release knows: it has {fingerprint} instead of {expected}. Nothing was trusted.\n"  # noqa: E501
    assert ("" if right else said) == done.stdout


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "debian.sources",
            "# x\nTypes: deb\nURIs: http://a/debian\nSuites: trixie trixie-updates\nComponents: main\n"
            "Signed-By: /k.gpg\n",
            "Types: deb\nURIs: http://a/debian\nSuites: trixie trixie-updates\n"
            "Components: contrib non-free non-free-firmware\nSigned-By: /k.gpg\n\n",
        ),
        (
            "x.list",
            "deb [arch=amd64 signed-by=/k.gpg] http://a/debian/ trixie main\ndeb https://b/other x main\n",
            "Types: deb\nURIs: http://a/debian/\nSuites: trixie\nComponents: contrib non-free non-free-firmware\n"
            "Signed-By: /k.gpg\n\n",
        ),
    ],
)
def test_components_beside_the_host_s_own(tmp_path: Path, file: str, text: str, expected: str) -> None:
    """contrib and non-free come from the host's own archive, with the same key; other vendors' lists are left out."""
    folder = tmp_path / "etc/apt/sources.list.d"
    folder.mkdir(parents=True)
    (folder / file).write_text(text)
    script = FAIL + "apt_index() { :; }\n" + debian_components().replace("/etc/", f"{tmp_path}/etc/")
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert expected == (folder / "hermeion-components.sources").read_text()
