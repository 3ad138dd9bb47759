"""Repositories with faults, hosts that one machine plays several of, and runs beside each other: for test_8_weights."""

from __future__ import annotations

import codecs
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermeion.checksums import sums_revision
from hermeion.lab.progress import Report
from hermeion.lab.publish import publish_bucket, publish_model
from tests.lab.conftest import INVENTORY, ROOT, Lab, Run

MIB = 1 << 20
SHAPE = {
    "layers": 2, "hidden": 256, "intermediate": 688, "heads": 4, "kv_heads": 2, "head_dim": 64, "vocab": 512,
    "max_context": 4096,
}  # fmt: skip


@dataclass(frozen=True)
class Repo:
    """A published repository.

    Attributes:
        entry: For hermes_catalog; what it holds is described, so nobody reads it but the puller.
        sizes: Bytes by file.
    """

    entry: dict[str, Any]
    sizes: dict[str, int]

    @property
    def name(self) -> str:
        """Its name in the catalogue, and that of its service."""
        return str(self.entry["name"])

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes.values())

    def blobs(self, cache: str = "/srv/models") -> str:
        """Folder of its blobs on a host."""
        return f"{cache}/hub/models--w--{self.name}/blobs"

    def snapshot(self, cache: str = "/srv/models") -> str:
        """Folder of its files on a host."""
        return f"{cache}/hub/models--w--{self.name}/snapshots/{self.entry['revision']}"

    def manifest(self, cache: str = "/srv/models") -> str:
        """Pattern of what says on a host that it is complete and checked."""
        return f"{cache}/hermeion/models--w--{self.name}@{self.entry['revision']}*.manifest"


@dataclass
class Started:
    """A run of the deploy that goes on."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def text(self) -> str:
        """What it has said so far."""
        return (self.folder / "said").read_text(errors="replace")

    def kill(self) -> None:
        """As a machine that is switched off does it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait(self, seconds: float = 300) -> Run:
        """Its end."""
        code = self.process.wait(seconds)
        report = self.folder / "report.json"
        return Run(code, self.text, json.loads(report.read_text()) if report.exists() else {})


@dataclass
class World:
    """The lab with what is published in it.

    Attributes:
        knobs: Faults of its Hub, all at the same time: each is about the paths of one repository.
    """

    lab: Lab
    folder: Path
    knobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    repos: dict[str, Repo] = field(default_factory=dict)
    count: int = 0

    def repo(self, name: str, *sizes: int, names: tuple[str, ...] = (), **faults: Mapping[str, Any]) -> Repo:
        """Publish a repository of random bytes, split GGUF files unless they have ``names``.

        Args:
            sizes: Bytes of its files.
            faults: Knobs by kind (``statuses``, ``bodies``, ``redirects``, ``tokens``), for all its files unless
                they name a ``path`` below the repository.
        """
        names = names or shards(len(sizes))
        chance = random.Random(name)  # noqa: S311  # the same again is what is wanted
        revision = self.publish(name, {path: chance.randbytes(size) for path, size in zip(names, sizes, strict=True)})
        for kind, fault in faults.items():
            path = fault.get("path", "resolve/[^/]+/.*(gguf|safetensors)")
            self.knobs.setdefault(kind, []).append({**fault, "path": f"/w/{name}/{path}"})
        entry = {"name": name, "repo": f"w/{name}", "revision": revision, "bytes": sum(sizes), "precision": "f16"}
        self.repos[name] = Repo(entry | {"shape": SHAPE, "file": names[0]}, dict(zip(names, sizes, strict=True)))
        return self.repos[name]

    def model(self, name: str, tail: int, seed: int = 1) -> Repo:
        """Publish, as the newest, a model that llama.cpp serves, made larger: it leaves what follows its tensors."""
        entry = next(model for model in self.lab.data["models"] if model.get("file"))
        answer = self.lab.hub("GET", f"/{entry['repo']}/resolve/{entry['revision']}/{entry['file']}")
        content = answer.content + random.Random(seed).randbytes(tail)  # noqa: S311  # the same
        revision = self.publish(name, {"tiny.gguf": content}, main=True)
        found = {"name": name, "repo": f"w/{name}", "revision": revision, "file": "tiny.gguf"}
        self.repos[name] = Repo(found, {"tiny.gguf": len(content)})
        return self.repos[name]

    def serve(self, real: str, name: str, **changes: Any) -> tuple[str, dict[str, Any]]:
        """Data of a host that serves such a model, at whatever its branch stands."""
        archive = self.lab.data["archives"]["llamacpp"]
        own = self.lab.gguf_service(model=name, port=8002, runtime="systemd", archive=archive)
        entry = {key: value for key, value in self.repos[name].entry.items() if key != "revision"}
        return real, {"hermes_catalog": [entry], "hermes_services": [own]} | changes

    def elsewhere(self, name: str, source: str, sums: Mapping[str, str], size: int) -> Repo:
        """A repository whose files lie in a bucket or folder.

        Args:
            sums: SHA-256 by file.
            size: Bytes of each file.
        """
        entry = {"name": name, "repo": f"w/{name}", "source": source, "revision": sums_revision(sums)}
        sizes = dict.fromkeys(sorted(sums), size)
        more = {"bytes": sum(sizes.values()), "precision": "f16", "shape": SHAPE, "file": min(sums)}
        self.repos[name] = Repo(entry | more, sizes)
        return self.repos[name]

    def publish(self, name: str, content: Mapping[str, bytes], *, main: bool = False, bucket: str = "") -> str:
        """Serve these files as a revision of ``w/NAME``, or as a bucket; the revision."""
        self.count += 1
        folder = self.folder / f"{name}-{self.count}"
        folder.mkdir(parents=True)
        for path, data in content.items():
            (folder / path).write_bytes(data)
        if bucket:
            publish_bucket(self.lab.data["name"], bucket, folder, Report())
            return ""
        return publish_model(self.lab.data["name"], f"w/{name}", folder, Report(), main=main).revision

    def turn(self) -> None:
        """Turn all faults on."""
        assert self.lab.hub("POST", "/_lab/knobs", self.knobs).status_code < 300

    def service(self, name: str, **changes: Any) -> dict[str, Any]:
        """A service whose engine cannot be had: its run ends after the weights, which come first."""
        mirror = self.lab.data["mirrors"]["hub"]
        archive = {"url": f"{mirror}/files/none.tar.gz", "sha256": "0" * 64}
        build = self.lab.gguf_service()["engine_version"]
        base = {"name": name, "model": name, "engine": "llamacpp", "engine_version": build, "runtime": "systemd"}
        return base | {"archive": archive} | changes

    def host(self, real: str, name: str, **changes: Any) -> tuple[str, dict[str, Any]]:
        """Data of a host that wants a repository and cannot serve it."""
        own = {"hermes_catalog": [self.repos[name].entry], "hermes_services": [self.service(name)]}
        return real, own | changes

    def inventory(self, hosts: Mapping[str, tuple[str, dict[str, Any]]]) -> Path:
        """An inventory: names of hosts, each played by a host of the lab, with its data."""
        self.count += 1
        path = self.folder / f"inventory{self.count}.py"
        path.write_text(
            (ROOT / INVENTORY).read_text()
            + f"\n_played = {dict(hosts)!r}\n_real = dict(lab)\n"
            + "lab = [(name, _real[real] | data) for name, (real, data) in _played.items()]\n"
        )
        return path

    def start(self, inventory: Path, *options: str, **environment: str) -> Started:
        """Begin a run of the deploy."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        own = {"HERMEION_LAB": self.lab.data["name"], "HERMEION_REPORT": f"{folder}/report.json"}
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("pyinfra")), str(inventory), "deploys/hermes.py", "-y", *options],
                cwd=ROOT,
                env=os.environ | own | environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        return Started(process, folder)

    def run(self, hosts: Mapping[str, tuple[str, dict[str, Any]]], *options: str, **environment: str) -> Run:
        """A run of the deploy on these hosts."""
        return self.start(self.inventory(hosts), *options, **environment).wait()

    def served(self, name: str, file: str = "") -> int:
        """Bytes of a repository's files that the origin gave; what is asked about them before does not count."""
        paths = self.lab.hub("GET", "/_lab/traffic").json()["paths"]
        return sum(size for path, size in paths.items() if path.startswith(f"/w/{name}/") and file in path)

    def asked(self, name: str) -> list[dict[str, Any]]:
        """Requests for a repository's files, in order."""
        log = self.lab.hub("GET", "/_lab/requests").json()
        return [row for row in log if row["path"].startswith(f"/w/{name}/resolve/") and row["method"] == "GET"]

    def log(self, real: str, name: str) -> str:
        """What the job of a service's weights has said."""
        return self.lab.ssh(real, f"cat /run/hermeion/jobs/weights-{name}.log 2>/dev/null || true")

    def has(self, real: str, name: str, cache: str = "/srv/models") -> bool:
        """Whether a host has a repository: recorded as checked, and every file is what it is named."""
        repo = self.repos[name]
        command = f"ls {repo.manifest(cache)} >/dev/null && cd {repo.snapshot(cache)} && for file in *; do " + (
            'blob=$(readlink -f "$file"); [ "$(sha256sum < "$blob" | cut -d" " -f1)" = "${blob##*/}" ] || exit 1; '
            'stat -L -c "%s %n" "$file"; done'
        )
        lines = self.lab.ssh(real, command, check=False).splitlines()
        return {line.split(" ", 1)[1]: int(line.split(" ", 1)[0]) for line in lines} == repo.sizes


def shards(count: int) -> tuple[str, ...]:
    """Names of a split GGUF file."""
    return tuple(f"m-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1))


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    """Until it is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.3)


_TRACES = """{ read -r hidden; text=$(printf %s "$hidden" | tr A-Za-z N-ZA-Mn-za-m)
words() { printf '%s\\n' "$text"; printf %.42s "$text" | base64 -w 0; }
words | grep -laFf /dev/stdin /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null
words | grep -rlaFf /dev/stdin /etc /opt /run /var /root /tmp /srv 2>/dev/null
{ journalctl -q -a -o export; docker ps -aq 2>/dev/null | xargs -r docker inspect; } |
  if grep -qaFf <(words) -; then echo journal; fi; }
"""


def traces(world: World, real: str, secret: str) -> list[str]:
    """Where a host shows a secret, as it is or in base64: processes, files, journal. The question does not hold it."""
    hidden = codecs.encode(secret, "rot13")
    return sorted(world.lab.ssh(real, f"printf '%s\\n' {hidden} | {_TRACES}", check=False).splitlines())
