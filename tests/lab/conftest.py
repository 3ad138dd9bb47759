"""A lab of its own for the tests, raised once and taken down at the end, and the ways to drive it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
LAB = "test"
HOSTS = {"gpu-1": "1xL40S", "gpu-2": "none", "gpu-3": "2xRTX4090"}
INVENTORY = "inventories/lab.py"


@dataclass(frozen=True)
class Run:
    """A finished command."""

    code: int
    text: str
    report: dict[str, Any] = field(default_factory=dict)


def hermeion(*arguments: str, timeout: int = 1500, lab: str = LAB) -> Run:
    """The command line, as a user runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "hermeion", *arguments],
        cwd=ROOT,
        env=os.environ | {"HERMEION_LAB": lab, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr)


@dataclass(frozen=True)
class Lab:
    """The lab that stands, as ``lab.json`` tells it."""

    data: dict[str, Any]

    def pyinfra(self, inventory: Path | str, *options: str, timeout: int = 1200) -> Run:
        """The main command, as a user types it."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            done = subprocess.run(
                [str(Path(sys.executable).with_name("pyinfra")), str(inventory), "deploys/hermes.py", *options],
                cwd=ROOT,
                env=os.environ | {"HERMEION_LAB": self.data["name"], "HERMEION_REPORT": str(report)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout,
                check=False,
            )
            found = json.loads(report.read_text()) if report.exists() else {}
        return Run(done.returncode, done.stdout, found)

    def host(self, name: str) -> dict[str, Any]:
        """A host's entry."""
        return next(host for host in self.data["hosts"] if host["name"] == name)

    def ssh(self, name: str, command: str, *, check: bool = True) -> str:
        """Standard output of a command on a host."""
        host = self.host(name)
        options = [f"UserKnownHostsFile={self.data['known_hosts']}", "BatchMode=yes", "ConnectTimeout=20"]
        arguments = ["ssh", "-i", self.data["key"], "-p", str(host["port"])]
        arguments += [part for option in options for part in ("-o", option)]
        done = subprocess.run(
            [*arguments, f"root@{host['address']}", command], capture_output=True, text=True, timeout=300, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{name}: {command!r} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def wait(self, name: str, command: str, expected: str, seconds: float = 180) -> None:
        """Wait until a command on a host prints what is expected; a host that is away is asked again."""
        deadline = time.monotonic() + seconds
        while (printed := self.ssh(name, command, check=False).strip()) != expected:
            assert time.monotonic() < deadline, f"{name}: {command} prints {printed!r} after {seconds} s"
            time.sleep(1)

    def booted(self, name: str) -> str:
        """When a host booted; empty while it does not answer."""
        return self.ssh(name, "cut -d' ' -f22 /proc/1/stat", check=False).strip()

    def reboot(self, name: str) -> None:
        """Reboot a host, and wait until it is up again."""
        before = self.booted(name)
        self.ssh(name, "systemctl reboot", check=False)
        deadline = time.monotonic() + 60
        while self.booted(name) in {before, ""}:
            assert time.monotonic() < deadline, f"{name} does not come back"
            time.sleep(1)

    def kill_until_given_up(self, name: str, unit: str, kill: str) -> None:
        """Kill a service's engine at every start, until systemd leaves it down; it does not pause in between."""
        folder = f"/run/systemd/system/{unit}.d"
        self.ssh(name, f"mkdir -p {folder} && printf '[Service]\\nRestartSec=100ms\\n' > {folder}/test.conf")
        self.ssh(name, "systemctl daemon-reload")
        state = f"systemctl show -p ActiveState --value {unit}"
        self.wait(name, f"{kill} >/dev/null 2>&1; {state}", "failed", seconds=120)
        self.ssh(name, f"rm -r {folder} && systemctl daemon-reload")

    def health(self, port: int) -> str:
        """A command that prints the HTTP status of a service's health."""
        return f"curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{port}/health"

    def hub(self, method: str, path: str, body: object = None) -> httpx.Response:
        """A request to the lab's Hub."""
        mirrors = self.data["mirrors"]
        import ssl  # noqa: PLC0415

        context = ssl.create_default_context(cafile=mirrors["ca"])
        return httpx.request(method, mirrors["hub"] + path, json=body, verify=context, timeout=30)

    def inventory(self, folder: Path, only: str, **changes: Any) -> Path:
        """An inventory of one host of the lab with other data, beside the lab's own."""
        text = (ROOT / INVENTORY).read_text()
        path = folder / "changed.py"
        path.write_text(
            text
            + f"\n_changes = {changes!r}\n"
            + f"lab = [(name, data | _changes) for name, data in lab if name in {only.split(',')!r}]\n"
        )
        return path

    def service(self, **changes: Any) -> list[dict[str, Any]]:
        """The lab's service with other keys."""
        model = self.data["models"][0]["name"]
        image = self.data["images"]["vllm"]
        base = {"name": "hermes", "model": model, "engine_version": "0.32.0", "image": image, "sequences": 64}
        return [base | changes]

    def gguf_service(self, **changes: Any) -> dict[str, Any]:
        """The tiny model in a GGUF file, served by llama.cpp."""
        model = next(model["name"] for model in self.data["models"] if model.get("file"))
        build = self.data["images"]["llamacpp"].partition("@")[0].rpartition("-")[2]
        return {"name": "small", "model": model, "engine": "llamacpp", "engine_version": build} | changes


@contextmanager
def standing(name: str, *options: str) -> Iterator[Lab]:
    """A lab, raised; it is taken down at the end, and what it leaves is looked for."""
    if shutil.which("docker") is None:
        pytest.fail("tests/lab need Docker: make test installs it, or run pytest tests/unit")
    hermeion("lab", "down", "--name", name)  # what a killed run may have left
    raised = hermeion("lab", "up", "--name", name, *options)
    assert raised.code == 0, raised.text
    yield Lab(json.loads(hermeion("lab", "status", "--name", name, "--json").text))
    lowered = hermeion("lab", "down", "--name", name)
    assert lowered.code == 0, lowered.text
    for kind in (["ps", "-a"], ["network", "ls"], ["volume", "ls"]):
        command = ["docker", *kind, "-q", "--filter", f"label=org.hermeion.lab={name}"]
        left = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert left == "", f"hermeion lab down left something: docker {' '.join(kind)}: {left}"


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of most tests."""
    with standing(LAB, *(part for name, gpus in HOSTS.items() for part in ("--host", f"{name}={gpus}"))) as raised:
        yield raised


@pytest.fixture
def hub_faults(lab: Lab) -> Iterator[Any]:
    """Turn on faults of the lab's Hub; they are off again after the test."""

    def turn_on(**knobs: Any) -> None:
        assert lab.hub("POST", "/_lab/knobs", knobs).status_code < 300

    yield turn_on
    lab.hub("DELETE", "/_lab/knobs")
