"""What a user will ask next: how long the pull takes, how fast it can be, how long a start takes. Estimates, each with
its basis."""

from __future__ import annotations

from hermeion.plans import MemoryBudget
from hermeion.records import Record
from hermeion.shapes import Shape
from hermeion.units import format_bytes, format_seconds
from hermeion.weights import layer_matrices

GIGABIT = 10**9
DISK_BYTES_PER_SECOND = 10**9
"""A local NVMe disk read by one process; a network filesystem is often slower, several disks are faster."""

INITIALISE_SECONDS = 60
"""Profiling, compiling and capturing graphs: 7 to 60 s in the logs of 47 starts of vLLM 0.19."""


class Estimate(Record):
    """A figure that was not measured.

    Attributes:
        value: In ``unit``.
        basis: What it was computed from, in words.
    """

    value: float
    unit: str
    basis: str

    @property
    def text(self) -> str:
        """``about 5 min 02 s``, ``at most 25 tokens/s``."""
        if self.unit == "seconds":
            return f"about {format_seconds(self.value)}"
        return f"at most {self.value:.0f} {self.unit}"


def pull_time(size: int, bits_per_second: float = GIGABIT) -> Estimate:
    """Seconds to pull ``size`` bytes over a link."""
    rate = f"{bits_per_second / GIGABIT:g} Gbit/s"
    return Estimate(
        value=size * 8 / bits_per_second,
        unit="seconds",
        basis=f"{format_bytes(size)} over {rate}, if neither the source nor the disk is slower",
    )


def start_time(size: int, disk: float = DISK_BYTES_PER_SECOND) -> Estimate:
    """Seconds from start to first answer, weights read from disk once."""
    return Estimate(
        value=size / disk + INITIALISE_SECONDS,
        unit="seconds",
        basis=f"{format_bytes(size)} read at {format_bytes(int(disk))}/s, and {INITIALISE_SECONDS} s to initialise",
    )


def active_share(shape: Shape) -> float:
    """Part of the weights that one token passes through: all of a dense model, some experts of a mixture."""
    if not shape.experts:
        return 1.0
    routed = shape.experts.per_token / shape.experts.count
    whole = active = float((1 if shape.tied_embeddings else 2) * shape.vocab * shape.hidden)
    for layers, mixture in ((shape.layers - shape.moe_layers, False), (shape.moe_layers, True)):
        for matrix in layer_matrices(shape, mixture=mixture):
            size = layers * matrix.inputs * matrix.outputs * matrix.copies
            whole += size
            active += size * (routed if matrix.name.startswith("expert_") else 1)
    return active / whole


def decode_ceiling(
    memory: MemoryBudget, shape: Shape, bandwidth: int, stages: int = 1, weights: int | None = None
) -> Estimate | None:
    """Tokens per second of one request, at best: every active weight is read once a token.

    Args:
        bandwidth: Memory bandwidth of one GPU in bytes per second; 0: not known.
        stages: Pipeline stages, which a token passes one after the other.
        weights: Size of all weights in bytes. Of an input embedding of its own only one row is read, so its part of
            them does not count. None: it counts.
    """
    if not bandwidth:
        return None
    embedding = 0.0
    if weights and not shape.tied_embeddings:
        embedding = min(0.5, 2 * shape.vocab * shape.hidden / weights)
    size = (memory.weights + memory.scales) * active_share(shape) * (1 - embedding) * stages
    return Estimate(
        value=bandwidth / size,
        unit="tokens/s",
        basis=f"one request; {format_bytes(int(size))} read once a token at {bandwidth / 1e9:.0f} GB/s a GPU",
    )
