"""What runs on a set of GPUs that nobody has to own yet: the planner, asked without a host."""

from __future__ import annotations

import re

from hermeion.errors import InventoryError, PlacementError
from hermeion.gpus import GpuModel, gpu_models
from hermeion.hosts import Gpu, Host
from hermeion.inventory import ServiceSpec
from hermeion.placement import Candidate, place
from hermeion.records import Record
from hermeion.variants import Catalog, Variant


class Fit(Record):
    """One variant on a set of GPUs.

    Attributes:
        gpus: GPUs it takes, or 0 when it does not fit.
        context: Tokens of context, or 0.
        kv_tokens: Tokens that the KV cache holds, or 0.
        tokens_per_second: Ceiling of one request's decoding: every weight is read once a token. An estimate.
        reason: Why it does not fit, or ``""``.
    """

    model: str
    variant: str
    bytes: int
    gpus: int = 0
    context: int = 0
    kv_tokens: int = 0
    tokens_per_second: int = 0
    reason: str = ""


def _plain(name: str) -> str:
    """``NVIDIA GeForce RTX 4090`` becomes ``rtx4090``: how people write it."""
    return re.sub(r"nvidia|geforce|tesla|quadro|generation|edition|[^a-z0-9]", "", name.lower())


def parse_gpu_set(text: str) -> tuple[GpuModel, int]:
    """``2xL40S`` as a GPU model and a number.

    Raises:
        InventoryError: Not of that form, or no such GPU model; the nearest names are listed.
    """
    match = re.fullmatch(r"(?:(\d{1,2})\s*[x×*]\s*)?(?!\d+\s*[x×*]\s*$)(.+)", text.strip())
    count, name = (int(match[1] or 1), _plain(match[2])) if match else (0, "")
    if count not in range(1, 17) or not name:
        raise InventoryError(f"not a set of GPUs: {text!r}. Write a number and a model, such as 2xL40S.")
    models = {model.name: model for model in gpu_models().values()}
    exact = [model for model in models.values() if _plain(model.name) == name]
    found = exact or [model for model in models.values() if _plain(model.name).startswith(name)]
    found = found or [model for model in models.values() if name in _plain(model.name)]
    if not found:
        raise InventoryError(f"no GPU model {text!r} in the table. There are: {', '.join(sorted(models))}.")
    # Of several forms of a card (PCIe, SXM, NVL) the one with the least memory: what fits there fits on the others.
    return min(found, key=lambda model: model.memory), count


def _host(model: GpuModel, count: int) -> Host:
    gpus = tuple(
        Gpu(
            pci_address=f"0000:{index + 1:02x}:00.0",
            uuid=None,
            model=model.name,
            memory=model.memory,
            free=model.memory,
            architecture=model.architecture,
            compute_capability=model.compute_capability,
        )
        for index in range(count)
    )
    return Host(name=f"{count} × {model.name}", gpus=gpus, nvswitch=False)


def _fit(variant: Variant, model: GpuModel, count: int, context: int | None) -> Fit:
    known = {"model": variant.model, "variant": variant.name, "bytes": variant.bytes}
    host = _host(model, count)
    spec = ServiceSpec(name="fits", model=variant.model, context=context or "max")
    try:
        chosen: Candidate
        chosen, _ = place(spec, host, host.gpus, (variant,))
    except PlacementError as error:
        lines = [line.partition(": ")[2] for line in str(error).splitlines() if line.startswith("  - ")]
        return Fit(**known, reason=lines[-1])  # with the most GPUs
    weights = variant.bytes / len(chosen.gpus)
    return Fit(
        **known,
        gpus=len(chosen.gpus),
        context=chosen.context,
        kv_tokens=chosen.memory.kv_tokens,
        tokens_per_second=int(model.bandwidth / weights),
    )


def what_fits(catalog: Catalog, gpu_set: str, context: int | None = None) -> tuple[GpuModel, int, tuple[Fit, ...]]:
    """Every variant of the catalogue on a set of GPUs, with as few of them as serve the context.

    Args:
        context: Wanted tokens of context, or ``None``: as much as fits.
    """
    model, count = parse_gpu_set(gpu_set)
    return model, count, tuple(_fit(v, model, count, context) for variants in catalog.values() for v in variants)
