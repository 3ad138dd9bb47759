"""The probe: the real script on this machine, and its answers read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hermeion.errors import ProbeError
from hermeion.probe import (
    BrokenPackage,
    Container,
    Disk,
    ManagedFile,
    PciDevice,
    Unit,
    boot_script,
    parse_probe,
    probe_script,
)
from tests.unit.builders import bare_text, make_probe, probe_text, section, smi_row, uuid_of

SECTIONS = (
    "os",
    "pci",
    "smi",
    "topo",
    "fabric",
    "driver",
    "packages",
    "repositories",
    "holders",
    "docker",
    "daemon.json",
    "cdi",
    "disks",
    "engines",
    "weights",
    "files",
    "releases",
    "units",
)
SHELLS = [shell for shell in (["sh"], ["dash"], ["busybox", "sh"], ["bash", "--posix"]) if shutil.which(shell[0])]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_script_on_this_machine(shell: list[str], tmp_path: Path) -> None:
    """The script ends with 0 in every shell that is here, and its answer is read whole."""
    cache = tmp_path / "not-here-yet" / "models"
    done = subprocess.run(
        [*shell, "-c", probe_script(), "probe", str(cache)], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    probe = parse_probe(lines)

    assert (0, "") == (done.returncode, done.stderr)
    assert [f"@{name}" for name in SECTIONS] == [
        line for line in lines if line.startswith("@") and not line.startswith("@=")
    ]
    assert Path("/proc/sys/kernel/osrelease").read_text().strip() == probe.kernel
    assert "/" in probe.boot
    assert "curl" in probe.tools


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_script_is_shell(shell: list[str]) -> None:
    """Every shell that is here can read the script."""
    done = subprocess.run([*shell, "-n", "-c", probe_script()], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_boot_script_is_in_the_probe() -> None:
    """The identity of a boot is asked for in one way."""
    assert boot_script() in probe_script()
    assert "@BOOT@" not in probe_script()


def test_native_engines() -> None:
    """Engines that are installed completely, and the release that a native process was started from."""
    unit = (
        "hermeion-hermes.service NRestarts=0 ActiveState=active SubState=running UnitFileState=enabled "
        "NeedDaemonReload=no MainPID=42 release=0123456789ab"
    )
    probe = make_probe(engines=["vllm-0.33.0-0123456789ab"], units=[unit])

    assert frozenset({"vllm-0.33.0-0123456789ab"}) == probe.engines
    assert "0123456789ab" == probe.units["hermeion-hermes.service"].release


def test_full_answer() -> None:
    """Every section of an answer arrives in its field."""
    probe = make_probe(
        images=["vllm/vllm-openai@sha256:1", "<none>@<none>"],
        containers=["c0 hermeion-hermes running hermes abcdef", "c1 other exited - -"],
        weights=["models--me--my model@abc complete", "blob models--me--other 12 ab cd.incomplete"],
        files=["600 0:0 ff00 /etc/hermeion/hermes/api-keys", "644 0:0 ff01 /etc/hermeion/with space"],
        releases=['hermes releases/abcdef {"name": "hermes"}', "second releases/123456 {broken"],
        units=[
            "hermeion-hermes.service NRestarts=2 ActiveState=active SubState=running UnitFileState=enabled "
            "NeedDaemonReload=yes"
        ],
        broken=["linux-image-amd64 iF"],
        secure_boot=True,
    )

    assert ("debian", "13", "trixie", "6.12.48+deb13-amd64", "x86_64") == (
        probe.os_id,
        probe.os_version,
        probe.codename,
        probe.kernel,
        probe.machine,
    )
    assert (True, True, frozenset({"curl", "wget", "systemctl", "apt-get"})) == (
        probe.is_root,
        probe.secure_boot,
        probe.tools,
    )
    assert (PciDevice(address="0000:01:00.0", device_id="2684", pci_class="030200", driver="nvidia"),) == probe.pci
    assert [uuid_of(0)] == [gpu.uuid for gpu in probe.smi or ()]
    assert ("26.1.5+dfsg1", "2.26.1-4", '{"features": {"cdi": true}}') == (
        probe.docker,
        probe.compose,
        probe.daemon_json,
    )
    assert frozenset({"vllm/vllm-openai@sha256:1", "<none>@<none>"}) == probe.images
    assert (
        Container(id="c0", name="hermeion-hermes", service="hermes", release="abcdef", state="running"),
        Container(id="c1", name="other", state="exited"),
    ) == probe.containers
    assert {"models--me--my model@abc": "complete"} == probe.weights
    assert {"models--me--other": {"ab cd.incomplete": 12}} == probe.blobs
    assert ManagedFile(mode="600", owner="0:0", sha256="ff00") == probe.files["/etc/hermeion/hermes/api-keys"]
    assert "/etc/hermeion/with space" in probe.files
    assert {"hermes": ("abcdef", {"name": "hermes"}), "second": ("123456", {})} == probe.releases
    assert {
        "hermeion-hermes.service": Unit(
            active="active", sub="running", enabled="enabled", restarts=2, needs_reload=True
        )
    } == probe.units
    assert ((BrokenPackage(name="linux-image-amd64", status="iF"),), "1.20.0-1") == (
        probe.broken_packages,
        probe.packages["nvidia-container-toolkit-base"],
    )
    assert (
        Disk(path="/srv/models", total=2 * 10**12, free=19 * 10**11, writable=True, source="/dev/nvme0n1p2")
        == probe.disks["/srv/models"]
    )


def test_bare_answer() -> None:
    """A bare host says of everything that it is not there."""
    probe = parse_probe(bare_text().splitlines())

    assert (None, None, None, None, {}, frozenset(), frozenset()) == (
        probe.smi,
        probe.docker,
        probe.compose,
        probe.daemon_json,
        probe.packages,
        probe.cdi_devices,
        probe.images,
    )
    assert PciDevice(address="0000:01:00.0", device_id="2684", pci_class="030200", driver="") == probe.pci[0]


def test_driver_that_fails() -> None:
    """A driver that fails is no driver; its words are kept."""
    probe = make_probe(smi=(9, ["NVIDIA-SMI has failed", "Make sure that the driver is installed."]))

    assert (None, "NVIDIA-SMI has failed Make sure that the driver is installed.") == (probe.smi, probe.smi_text)


@pytest.mark.parametrize("name", ["os", "pci", "smi", "topo", "packages", "docker", "disks", "units", "cdi", "files"])
def test_missing_section(name: str) -> None:
    """An answer that was cut short is told by the sections that it lacks."""
    text = probe_text().replace(f"@{name}\n", f"@other-{name}\n")
    with pytest.raises(ProbeError) as caught:
        parse_probe(text.splitlines())

    assert f"the probe's answer is incomplete: no section {name}" == str(caught.value)


def test_no_answer_at_all() -> None:
    """An empty answer lacks everything."""
    with pytest.raises(ProbeError) as caught:
        parse_probe([])

    assert f"the probe's answer is incomplete: no section {', '.join(sorted(SECTIONS))}" == str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@=0\n", "the probe printed a status outside a section: '@=0'"),
        (
            probe_text().replace("kernel=", "kern="),
            "the probe's answer cannot be read: KeyError('kernel')",
        ),
        (
            probe_text(units=["hermeion-x.service ActiveState=active"]),
            "the probe's answer cannot be read: KeyError('SubState')",
        ),
        (
            probe_text(smi=(0, [smi_row(0, "2684"), "junk"])),
            "nvidia-smi printed a row that cannot be read: 'junk'",
        ),
        (
            probe_text(disks=["/srv/models"]),
            "the probe's answer cannot be read: ValueError('not enough values to unpack (expected at least 4, got 1)')",
        ),
    ],
)
def test_answer_that_cannot_be_read(text: str, message: str) -> None:
    """A line that is not as it should be is quoted or named."""
    with pytest.raises(ProbeError) as caught:
        parse_probe(text.splitlines())

    assert message == str(caught.value)


def test_lines_before_the_answer() -> None:
    """A greeting that a login prints before the answer is passed over."""
    greeted = ["Welcome to Debian", "", *probe_text().splitlines()]

    assert make_probe() == parse_probe(greeted)


def test_builder_and_script_agree() -> None:
    """The tests' own answers have the sections of the script, in its order."""
    written = [line[1:] for line in probe_text().splitlines() if line.startswith("@") and not line.startswith("@=")]

    assert list(SECTIONS) == written
    assert all(f"section {name} " in probe_script() for name in written)
    assert "@x\na\nb\n\n@=3\n" == section("x", ["a", "b"], 3)
