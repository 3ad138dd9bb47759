"""Giving weights to other hosts: the scripts with the real rsync, and a stand-in for systemd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hermeion.routes import Door
from hermeion.scripts.sharing import serve_script, stop_script
from tests.unit.builders import make_probe, make_spec

MODULE = "models--o--m"
PASSWORD = "poison-1f2e3d4c5b6a"  # a canary

SYSTEMCTL = """#!/bin/sh
# A unit is a process whose id is in a file.
echo "systemctl $*" >> @root@/calls
for unit; do :; done
case $1 in
  --version) echo "systemd 257 (257.13)" ;;
  show) kill -0 "$(cat @root@/$unit 2>/dev/null)" 2>/dev/null && echo active || echo inactive ;;
  stop) /bin/kill -9 -- "-$(cat @root@/$unit)" ;;
esac
"""
SYSTEMD_RUN = """#!/bin/sh
echo "systemd-run $*" >> @root@/calls
for word; do
  shift
  case $word in
    --unit=*) unit=${word#--unit=}.service ;;
    RuntimeDirectory=*) dir=@root@/run/${word#RuntimeDirectory=hermeion/} ;;
    /bin/sh) break ;;
  esac
done
mkdir -p "$dir"
RUNTIME_DIRECTORY=$dir setsid sh "$@" > @root@/said 2>&1 < /dev/null &
echo $! > "@root@/$unit"
"""


class Giver:
    """A host with systemd's stand-in; what scripts write into ``/run/hermeion`` is in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN), ("journalctl", "#!/bin/sh\n")):
            (root / "bin" / name).write_text(text.replace("@root@", str(root)))
            (root / "bin" / name).chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.door = Door(address="127.0.0.1", port=self.port, allowed=("127.0.0.1", "10.0.0.9"))
        self.config = root / "run" / f"share-127.0.0.1-{self.port}.d"

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script as a host does."""
        script = script.replace("/run/hermeion", f"{self.root}/run")
        path = f"{self.root}/bin:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-s"], input=script, capture_output=True, text=True, check=False, env={"PATH": path}, timeout=60
        )

    def serve(self, user: str = "run-1", module: str = MODULE, idle: int = 900) -> subprocess.CompletedProcess[str]:
        """Offer a repository."""
        (self.root / "cache" / "hub" / module / "blobs").mkdir(parents=True, exist_ok=True)
        return self.run(
            serve_script(
                make_spec(), make_probe(), [self.door], cache=f"{self.root}/cache", module=module, user=user,
                password=f"{PASSWORD}-{user}", keys={}, idle_seconds=idle,
            )
        )  # fmt: skip

    def list(self, user: str, module: str = MODULE) -> int:
        """Exit status of rsync for one who asks. As root the daemon would become nobody, who may not look in here."""
        if os.geteuid() == 0:
            conf = self.config / "modules" / f"{module}.conf"
            if conf.exists() and "uid" not in conf.read_text():
                conf.write_text(conf.read_text() + "uid = root\ngid = root\n")
        url = f"rsync://{user}@127.0.0.1:{self.port}/{module}/"
        return subprocess.run(
            ["rsync", "--password-file=-", url],
            input=f"{PASSWORD}-{user}\n",
            capture_output=True,
            text=True,
            check=False,
        ).returncode

    @property
    def is_up(self) -> bool:
        """Whether something listens."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def giver(tmp_path: Path) -> Iterator[Giver]:
    """A host; what it started is killed in the end."""
    made = Giver(tmp_path)
    yield made
    for file in tmp_path.glob("*.service"):
        with suppress(ProcessLookupError):
            os.killpg(int(file.read_text()), signal.SIGKILL)


def test_offer_and_take_back(giver: Giver) -> None:
    """An offer is there for who has the run's password; taken back, nothing listens any more."""
    done = giver.serve()
    assert (0, "") == (done.returncode, done.stdout + done.stderr)
    assert [0, 5] == [giver.list("run-1"), giver.list("run-2")]

    assert 0 == giver.run(stop_script([giver.door], module=MODULE, user="run-1")).returncode
    assert not giver.is_up
    assert 0 == giver.run(stop_script([giver.door], module=MODULE, user="run-1")).returncode


def test_same_offer_again(giver: Giver) -> None:
    """Once more is no change: one daemon, started once."""
    giver.serve()
    assert 0 == giver.serve().returncode

    calls = (giver.root / "calls").read_text().splitlines()
    assert 1 == len([call for call in calls if call.startswith("systemd-run")])
    assert 0 == giver.list("run-1")


def test_two_runs_and_two_repositories(giver: Giver) -> None:
    """Runs share the daemon and nothing else: each has its password, and ends without the other's knowledge."""
    giver.serve("run-1")
    giver.serve("run-2")
    giver.serve("run-2", "models--o--other")
    assert [0, 0, 0, 5] == [
        giver.list("run-1"), giver.list("run-2"), giver.list("run-2", "models--o--other"),
        giver.list("run-1", "models--o--other"),
    ]  # fmt: skip

    giver.run(stop_script([giver.door], module=MODULE, user="run-1"))
    assert [5, 0] == [giver.list("run-1"), giver.list("run-2")]
    giver.run(stop_script([giver.door], module=MODULE, user="run-2"))
    assert [5, 0] == [giver.list("run-2"), giver.list("run-2", "models--o--other")]


def test_only_named_hosts_may_ask(giver: Giver) -> None:
    """A host that the plan does not name is not told that there is anything."""
    giver.door = giver.door.model_copy(update={"allowed": ("10.0.0.9",)})
    giver.serve()

    assert "hosts allow = 10.0.0.9 \n" in (giver.config / "modules" / f"{MODULE}.conf").read_text()
    assert 5 == giver.list("run-1")


def test_password_is_in_one_private_file(giver: Giver) -> None:
    """The password is in files that the daemon alone may read, and in no argument and no environment."""
    script = serve_script(
        make_spec(), make_probe(), [giver.door], cache="/srv/models", module=MODULE, user="run-1", password=PASSWORD,
        keys={},
    )  # fmt: skip
    assert PASSWORD not in script
    giver.serve()

    found = [path for path in giver.root.rglob("*") if path.is_file() and PASSWORD in path.read_text(errors="replace")]
    assert {0o600, 0o640} == {path.stat().st_mode & 0o777 for path in found}
    assert {f"{MODULE}.secrets", "run-1.secret"} == {path.name for path in found}
    pid = int(next(giver.root.glob("*.service")).read_text())
    assert PASSWORD not in Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()


def test_idle_daemon_ends(giver: Giver) -> None:
    """It ends when nobody has asked for the given time, and not while somebody does."""
    giver.serve(idle=3)
    for _ in range(5):
        time.sleep(1)
        giver.list("run-1")
    assert giver.is_up
    time.sleep(8)  # without a look at the port: that would be a question
    assert not giver.is_up
    assert "nobody has asked for 3 s" == (giver.root / "said").read_text().strip()


def test_port_is_taken(giver: Giver) -> None:
    """A port that another program has is said with the next step, and nothing is left running."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", giver.port))
        other.listen()
        done = giver.serve()

    assert 1 == done.returncode
    line = done.stdout.splitlines()[-1]
    assert line.startswith(f"##error the weights cannot be given to other hosts at 127.0.0.1, port {giver.port}: ")
    assert line.endswith("Free the port, or set hermes_sharing (port, or hosts = false), and run again.")


@pytest.mark.parametrize(("version", "known"), [(257, True), (239, False)])
def test_sandbox_by_version(giver: Giver, version: int, known: bool) -> None:
    """An older systemd is not asked for what it does not know; the rest of the sandbox is there."""
    systemctl = giver.root / "bin" / "systemctl"
    systemctl.write_text(systemctl.read_text().replace("257", str(version)))
    giver.serve()

    call = next(line for line in (giver.root / "calls").read_text().splitlines() if line.startswith("systemd-run"))
    assert known == ("ProtectProc=invisible" in call)
    assert "-p NoNewPrivileges=yes -p ProtectSystem=strict" in call
    assert "-p CapabilityBoundingSet" in call
