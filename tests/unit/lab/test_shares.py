"""Folders that hosts share, what findmnt is made to say of them, and a cable that is pulled."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hermeion import lab
from hermeion.errors import LabError
from hermeion.lab import cables, standing
from hermeion.lab.gpus.sets import parse_gpu_set
from hermeion.lab.hosts import SHARED_LABEL, LabHost, host_labels
from hermeion.lab.keys import ensure_ssh_key
from hermeion.lab.paths import StatePaths
from hermeion.lab.progress import Report
from hermeion.lab.shares import Share, binds, disguise, parse_shared, read_share, volume_of
from tests.unit.lab.test_boot import write_stub

STAND_IN = Path(lab.__file__).parent / "mounts/findmnt"
HOSTS = ["gpu-1", "gpu-2", "gpu-3"]


def test_shares_are_read_by_host() -> None:
    texts = ["/srv/models=gpu-1,gpu-2:nfs4", "/mnt/a=gpu-1"]
    models, plain = Share("/srv/models", "nfs4"), Share("/mnt/a")
    assert {"gpu-1": (plain, models), "gpu-2": (models,), "gpu-3": ()} == parse_shared(texts, HOSTS)
    assert models == read_share(models.text)
    assert plain == read_share(plain.text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/srv/models", "write PATH=HOST,HOST"),
        ("/srv/models=", "write PATH=HOST,HOST"),
        ("srv=gpu-1", "is not a shared folder"),
        ("/=gpu-1", "is not a shared folder"),
        ("/a/../b=gpu-1", "is not a shared folder"),
        ("/srv/a b=gpu-1", "is not a shared folder"),
        ("/srv=gpu-1:NFS 4", "is not a shared folder"),
        ("/srv=gpu-9", "has no host 'gpu-9'. Hosts: gpu-1, gpu-2, gpu-3"),
        ("/srv=gpu-1,gpu-1", "gpu-1 has another folder at /srv"),
    ],
)
def test_a_share_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(LabError, match=said):
        parse_shared([text], HOSTS)


def test_hosts_at_one_path_have_one_volume() -> None:
    """Whatever they call it; another path, or another lab, is another volume."""
    volumes = [volume_of("lab", Share("/srv/a", "nfs4")), volume_of("lab", Share("/srv/a"))]
    others = [volume_of("lab", Share("/srv-a")), volume_of("x", Share("/srv/a"))]
    assert (1, 3) == (len(set(volumes)), len({*volumes, *others}))
    assert {volumes[0]: {"bind": "/srv/a", "mode": "rw"}} == binds("lab", [Share("/srv/a")])


def test_a_change_of_shares_makes_a_host_anew(tmp_path: Path) -> None:
    state = StatePaths(tmp_path)
    ensure_ssh_key(state.key, comment="x")
    shares: list[tuple[Share, ...]] = [(), (Share("/a"),), (Share("/a", "nfs4"),), (Share("/a"), Share("/b"))]
    hosts = [LabHost("gpu-1", parse_gpu_set("none"), shared=shared) for shared in shares]
    labels = [tuple(sorted(host_labels("lab", host, "image", state).items())) for host in hosts]
    assert len(shares) == len(set(labels))


def test_a_host_of_an_earlier_version_stays_as_long_as_it_shares_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no label that says so; with a share wanted it is made anew."""
    state = StatePaths(tmp_path)
    ensure_ssh_key(state.key, comment="x")
    wanted = [LabHost(name, parse_gpu_set("none")) for name in ("gpu-1", "gpu-2")]
    wanted[1] = replace(wanted[1], shared=(Share("/a"),))
    labels = [host_labels("lab", replace(host, shared=()), "image", state) for host in wanted]
    containers = [
        SimpleNamespace(labels={key: value for key, value in one.items() if key != SHARED_LABEL}) for one in labels
    ]
    removed: list[str] = []
    monkeypatch.setattr(standing, "find_containers", lambda *_: containers)
    monkeypatch.setattr(standing, "read_current", lambda _: "bare")
    monkeypatch.setattr(standing, "remove_host", lambda *arguments: removed.append(arguments[2]))
    images = {host.name: "image" for host in wanted}
    client: Any = None
    assert {"gpu-1": containers[0]} == standing._keep(client, "lab", wanted, images, state, Report())
    assert ["gpu-2"] == removed


def test_only_a_disguised_mount_brings_a_stand_in() -> None:
    assert {} == disguise([Share("/a")])
    files = disguise([Share("/a"), Share("/srv/b", "nfs4")])
    assert f"/srv/b nfs4 storage.lab:/{Share('/srv/b').slug}\n".encode() == files["etc/hermeion-lab/mounts"][0]
    assert (STAND_IN.read_bytes(), 0o755) == files["usr/local/sbin/findmnt"]


@dataclass(frozen=True)
class Findmnt:
    """The real findmnt over a recorded table of mounts, and the stand-in over that."""

    real: Path
    stand_in: Path
    shared: Path
    """A mount that is disguised."""
    plain: Path
    """One of the same filesystem that is not."""

    def ask(self, arguments: str, program: Path | None = None) -> tuple[int, str]:
        """Status and output; ``S`` and ``P`` in the arguments stand for the two mounts."""
        paths = {"S": str(self.shared / "deep"), "P": str(self.plain)}
        words = [paths.get(word, word) for word in arguments.split()]
        done = subprocess.run(["sh", program or self.stand_in, *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.replace(str(self.shared), "S").replace(str(self.plain), "P")

    def words(self, arguments: str) -> list[str]:
        """What the stand-in says, without the columns' widths."""
        status, said = self.ask(arguments)
        assert 0 == status
        return said.split()


@pytest.fixture
def findmnt(tmp_path: Path) -> Findmnt:
    shared, plain = tmp_path / "shared", tmp_path / "plain"
    (shared / "deep").mkdir(parents=True)
    plain.mkdir()
    (tmp_path / "mountinfo").write_text(
        "21 1 0:20 / / rw,relatime - overlay overlay rw\n"
        "22 21 0:21 / /proc rw,nosuid - proc proc rw\n"
        f"23 21 254:0 /volumes/shared-a/_data {shared} rw,relatime - ext4 /dev/vda rw\n"
        f"24 21 254:0 /volumes/other/_data {plain} rw,relatime - ext4 /dev/vda rw\n"
    )
    (tmp_path / "mounts").write_text(f"{tmp_path} nfs4 storage.lab:/none\n{shared} nfs4 storage.lab:/b\n")
    write_stub(tmp_path / "stubs", "real", f'exec findmnt -k -F {tmp_path}/mountinfo "$@"')
    script = STAND_IN.read_text(encoding="utf-8").replace("/etc/hermeion-lab/mounts", str(tmp_path / "mounts"))
    (tmp_path / "findmnt").write_text(script.replace("/usr/bin/findmnt", str(tmp_path / "stubs/real")))
    return Findmnt(tmp_path / "stubs/real", tmp_path / "findmnt", shared, plain)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-no SOURCE,FSTYPE,TARGET -T S", "storage.lab:/b nfs4 S"),
        ("-no FSTYPE -T S", "nfs4"),
        ("-no SOURCE -T S", "storage.lab:/b"),
        ("-nro TARGET,FSTYPE -T S", "S nfs4"),
        ("-P -o FSTYPE,SOURCE -T S", 'FSTYPE="nfs4" SOURCE="storage.lab:/b"'),
        ("-o FSTYPE -T S", "FSTYPE nfs4"),
        ("-no TARGET -T S", "S"),
        ("-nro FSTYPE,TARGET", "overlay / proc /proc nfs4 S ext4 P"),
        ("-nro FSTYPE,TARGET -t ext4", "nfs4 S ext4 P"),
        ("-nro SOURCE -t ext4", "storage.lab:/b /dev/vda[/volumes/other/_data]"),
    ],
)
def test_findmnt_says_what_it_is_told_of_a_disguised_mount(findmnt: Findmnt, arguments: str, expected: str) -> None:
    """Source and type, alone or among others, and of no other line of a list."""
    assert expected == " ".join(findmnt.words(arguments))


def test_findmnt_says_so_in_json(findmnt: Findmnt) -> None:
    status, said = findmnt.ask("-J -T S")
    (found,) = json.loads(said)["filesystems"]
    assert (0, "S", "storage.lab:/b", "nfs4") == (status, found["target"], found["source"], found["fstype"])


@pytest.mark.parametrize(
    "arguments",
    ["-no SOURCE,FSTYPE,TARGET -T P", "-J -T P", "-o SOURCE,TARGET -T /", "-no FSTYPE -T /none/there", "--no-such"],
)
def test_findmnt_is_the_real_one_for_all_else(findmnt: Findmnt, arguments: str) -> None:
    """Its answer and its status."""
    assert findmnt.ask(arguments, findmnt.real) == findmnt.ask(arguments)


@pytest.fixture
def cable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``ip`` that writes down what it is told; the link is up until it is set down."""
    up = tmp_path / "up"
    up.touch()
    body = f"""case "$*" in
    "link show dev eth0 up") [ ! -e {up} ] || echo eth0 ;;
    "-4 route show default dev eth0") echo "default via 10.1.2.1 " ;;
    "link set dev eth0 down") rm {up}; echo down >>{tmp_path}/log ;;
    "link set dev eth0 up") touch {up}; echo up >>{tmp_path}/log ;;
    "route replace default via 10.1.2.1 dev eth0") echo route >>{tmp_path}/log ;;
    *) echo "what: $*" >&2; exit 9 ;;
    esac"""
    write_stub(tmp_path / "stubs", "ip", body)
    monkeypatch.setenv("PATH", f"{tmp_path / 'stubs'}:{os.environ['PATH']}")
    return tmp_path


def test_a_cable_is_pulled_once_and_put_back_once(cable: Path) -> None:
    """The route that goes with the link comes back with it; to do either again does nothing."""

    def run(script: str) -> None:
        script = script.replace("/run/hermeion-lab-cut", str(cable / "cut"))
        subprocess.run(["sh", "-c", script], check=True)

    for script in (cables._JOIN, cables._CUT, cables._CUT, cables._JOIN, cables._JOIN):
        run(script)
    assert "down\nup\nroute\n" == (cable / "log").read_text()
