"""A lab of the benchmark's own, and ways to drive its hosts and to count what its Hub gives."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

ROOT = Path(__file__).parents[1]
CACHE = "/srv/models"
JOB = "weights-bench"
JOBS = "/run/hermeion/jobs"


class Pull(NamedTuple):
    """A job that brought weights to a host, by the host's own clock, which is that of all lab hosts.

    Attributes:
        begun: When it was ordered, seconds since the epoch.
        ended: When its unit had ended well.
        cores: Seconds of processors that it took on its host; 0 where systemd does not say it.
        facts: What the puller counted: bytes fetched, reused, hashed.
    """

    begun: float
    ended: float
    cores: float
    facts: dict[str, str]

    @property
    def seconds(self) -> float:
        """Wall time from the order to the end."""
        return self.ended - self.begun


class Lab:
    """The lab, raised."""

    def __init__(self, name: str, hosts: int) -> None:
        self.name = name
        wanted = [part for number in range(1, hosts + 1) for part in ("--host", f"gpu-{number}=1xL40S")]
        self.hermeion("lab", "up", "--name", name, *wanted)
        self.data = json.loads(self.hermeion("lab", "status", "--name", name, "--json"))
        self.hosts = [host["name"] for host in self.data["hosts"]]
        mirrors = self.data["mirrors"]
        context = ssl.create_default_context(cafile=mirrors["ca"])
        # The machine's proxies do not lead to its own containers.
        self._http = httpx.Client(base_url=mirrors["hub"], verify=context, timeout=30, trust_env=False)

    def close(self) -> None:
        """Take it down."""
        self._http.close()
        self.hermeion("lab", "down", "--name", self.name)

    def hermeion(self, *arguments: str) -> str:
        """Standard output of the command line, which must succeed."""
        command = [sys.executable, "-m", "hermeion", *arguments]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def publish(self, repo: str, folder: Path) -> dict[str, Any]:
        """Serve a folder as a repository; its entry for the catalogue."""
        said = self.hermeion("lab", "publish", repo, str(folder), "--name", self.name)
        entry: dict[str, Any] = json.loads(said.splitlines()[-1])
        return entry

    def knobs(self, **wanted: Any) -> None:
        """Turn exactly these of the Hub's knobs on."""
        self._http.post("/_lab/knobs", json=wanted).raise_for_status()

    def count_anew(self) -> None:
        """Let the Hub count its bytes from zero."""
        self._http.delete("/_lab/traffic").raise_for_status()

    def served(self) -> int:
        """Bytes of files that the Hub has given since then, planners' questions included."""
        paths: dict[str, int] = self._http.get("/_lab/traffic").raise_for_status().json()["paths"]
        return sum(count for path, count in paths.items() if "/resolve/" in path)

    def ssh(self, host: str, script: str) -> str:
        """Standard output of a script on a host; it must succeed."""
        entry = next(row for row in self.data["hosts"] if row["name"] == host)
        options = [
            "-o",
            f"UserKnownHostsFile={self.data['known_hosts']}",
            "-o",
            "BatchMode=yes",
            "-i",
            self.data["key"],
        ]
        command = ["ssh", *options, "-p", str(entry["port"]), f"root@{entry['address']}", "sh -s"]
        done = subprocess.run(command, input=f"set -eu\n{script}\n", capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{host}: a script failed: {done.stderr.strip()}\n{script}")
        return done.stdout

    def inventory(self, folder: Path, entry: dict[str, Any], hosts: Sequence[str]) -> Path:
        """An inventory of some of the hosts, that want one model."""
        service = {
            "name": JOB.removeprefix("weights-"), "model": entry["name"], "engine": "vllm", "engine_version": "0.32.0",
            "image": self.data["images"]["vllm"], "context": 4096, "min_context": 1024, "sequences": 1,
        }  # fmt: skip
        common = {
            "ssh_user": self.data["user"], "ssh_key": self.data["key"],
            "ssh_known_hosts_file": self.data["known_hosts"], "ssh_strict_host_key_checking": "yes",
            "hermes_cache": CACHE, "hermes_mirrors": self.data["mirrors"], "hermes_catalog": [entry],
            "hermes_services": [service],
        }  # fmt: skip
        rows = [
            (row["name"], {"ssh_hostname": row["address"], "ssh_port": row["port"], **common})
            for row in self.data["hosts"]
            if row["name"] in hosts
        ]
        path = folder / f"{entry['name']}-{len(rows)}.py"
        path.write_text(f"bench = {rows!r}\n")
        return path

    def start(self, inventory: Path, report: Path | None = None) -> subprocess.Popen[str]:
        """The cache stage for an inventory, begun."""
        environment = os.environ | ({"HERMEION_REPORT": str(report)} if report else {})
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("pyinfra")), str(inventory), "benchmarks/weights_deploy.py", "-y"],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    def deploy(self, inventory: Path, report: Path | None = None) -> None:
        """The cache stage for an inventory, until all its hosts have the weights."""
        process = self.start(inventory, report)
        said, _ = process.communicate()
        if process.returncode:
            sys.exit(f"the pull failed:\n{said}")

    def pull_of(self, host: str) -> Pull:
        """What the last pull of a host has to say."""
        text = self.ssh(
            host,
            f"cd {JOBS}; stat -c %.9Y {JOB}.id {JOB}.status; cat {JOB}.status\n"
            f"journalctl -q -o cat -n 5 -u hermeion-{JOB} | sed -n 's/.*Consumed //p' | tail -n 1 | grep . || echo\n"
            f"sed -n 's/^##fact //p' {JOB}.log",
        )
        begun, ended, status, consumed, *facts = text.splitlines()
        if status != "0":
            sys.exit(f"{host}: the job ended with {status}")
        found = re.match(r"(?:(\d+)min )?([\d.]+)s CPU time", consumed)
        cores = 60 * int(found[1] or 0) + float(found[2]) if found else 0.0
        return Pull(float(begun), float(ended), cores, dict(line.partition(" ")[::2] for line in facts))

    def forget(self, hosts: Sequence[str]) -> None:
        """Take everything away that pulls left on hosts; disks are quiet afterwards."""
        for host in hosts:
            self.ssh(
                host,
                f"systemctl stop 'hermeion-weights-*.service' 'hermeion-share-*.service' 2>/dev/null || true\n"
                f"umount {CACHE} 2>/dev/null || true; rm -rf {CACHE} {JOBS}/{JOB}.*",
            )
        os.sync()
        time.sleep(1)
