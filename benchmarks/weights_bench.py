"""What the measurements work with: the lab, its repositories, and hosts that have nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from weights_lab import CACHE, Lab, Pull


class Repository(NamedTuple):
    """A repository that the lab's Hub serves.

    Attributes:
        entry: Of a catalogue.
        names: All its files.
        size: Bytes of them.
    """

    entry: dict[str, Any]
    names: tuple[str, ...]
    size: int


class Bench(NamedTuple):
    """What the measurements work with.

    Attributes:
        weights: The repository that one host pulls.
        fleet: A smaller one, for many hosts.
        many: A small one of many files.
        rounds: How often each thing is measured.
    """

    lab: Lab
    folder: Path
    weights: Repository
    fleet: Repository
    many: Repository
    rounds: int

    def prepare(self) -> None:
        """Have on every host what pulls need once: the Hub's client, rsync, the site's certificate."""
        self.lab.knobs()
        self.lab.deploy(self.inventory(self.many, len(self.lab.hosts)))

    def inventory(self, repository: Repository, count: int = 1) -> Path:
        """An inventory of the first hosts, that want a repository."""
        return self.lab.inventory(self.folder, repository.entry, self.lab.hosts[:count])

    def pull(self, repository: Repository, count: int = 1, *, in_memory: bool = False) -> list[Pull]:
        """A repository for the first hosts, which have nothing.

        Args:
            in_memory: Whether their caches are in memory: one disk for all says nothing about a disk for each.
        """
        hosts = self.lab.hosts[:count]
        self.lab.forget(self.lab.hosts)
        for host in hosts if in_memory else ():
            room = repository.size + (2 << 30)
            self.lab.ssh(host, f"mkdir {CACHE}; mount -t tmpfs -o size={room},mode=755 bench {CACHE}")
        self.lab.deploy(self.inventory(repository, count))
        return [self.lab.pull_of(host) for host in hosts]
