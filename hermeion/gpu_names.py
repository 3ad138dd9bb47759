"""GPUs as people write them: ``2xL40S``, ``rtx 4090``, ``8 x H100``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hermeion.errors import InventoryError
from hermeion.gpus import SMI_TO_CUDA, GpuModel, gpu_models
from hermeion.records import Record
from hermeion.units import MIB

MOST = 64
"""More GPUs than any host has."""


def plain(name: str) -> str:
    """``NVIDIA GeForce RTX 4090`` becomes ``rtx4090``."""
    return re.sub(r"nvidia|geforce|tesla|quadro|generation|edition|[^a-z0-9]", "", name.lower())


def describe_models(models: Sequence[str]) -> str:
    """``2 × NVIDIA L40S``; a set that a person named may be of several models."""
    return " and ".join(f"{models.count(model)} × {model}" for model in dict.fromkeys(models))


def _ends_a_word(name: str, model: GpuModel) -> bool:
    """Whether a beginning of a model's plain name ends where one of its words does: the 6000 is not the 6000D."""
    ends = {len(plain(model.name[: match.end()])) for match in re.finditer(r"\S+", model.name)}
    return len(name) in ends


def _matching(name: str, models: Sequence[GpuModel]) -> list[GpuModel]:
    exact = [model for model in models if plain(model.name) == name]
    begins = exact or [model for model in models if plain(model.name).startswith(name)]
    begins = [model for model in begins if _ends_a_word(name, model)] or begins
    # A digit or two are in too many names to mean one.
    return begins or [model for model in models if len(name) > 2 and name in plain(model.name)]


def find_gpu_set(text: str) -> tuple[list[GpuModel], int]:
    """The GPU models that ``2xL40S`` may mean, and the number.

    Raises:
        InventoryError: Not of that form, or no such GPU model; the known names are listed.
    """
    match = re.fullmatch(r"(?:(\d{1,2})\s*[x×*]\s*)?(?!\d+\s*[x×*]\s*$)(.+)", text.strip())
    count, name = (int(match[1] or 1), plain(match[2])) if match else (0, "")
    if count not in range(1, MOST + 1) or not name:
        raise InventoryError(f"not a set of GPUs: {text!r}. Write a number and a model, such as 2xL40S.")
    models = {model.name: model for model in gpu_models().values()}
    found = _matching(name, list(models.values()))
    if not found:
        raise InventoryError(f"no GPU model {text!r} in the table. There are: {', '.join(sorted(models))}.")
    return found, count


def parse_gpu_set(text: str) -> tuple[GpuModel, int]:
    """``2xL40S`` as a GPU model and a number.

    Of several forms of a card (PCIe, SXM, NVL) the one with the least memory: what fits there fits on the others.

    Raises:
        InventoryError: Not of that form, or no such GPU model.
    """
    found, count = find_gpu_set(text)
    return min(found, key=lambda model: (model.memory, model.name)), count


SAME_TOTAL = 0.0005
"""Two totals this close to each other are the same card's: figures in GiB carry two digits, drivers differ by less."""


class Device(Record):
    """A GPU known by its total memory alone.

    Attributes:
        model: The product it must be, or ``None``.
        cuda: What CUDA sees of it, in bytes.
        basis: How that was found, in words.
    """

    model: GpuModel | None
    cuda: int
    basis: str


def device_of(total: int) -> Device:
    """What CUDA sees of a GPU with ``total`` bytes, by whatever tool said so.

    ``nvidia-smi`` prints 81559 MiB for an H100 and CUDA sees 81090: both are recognised. An unknown total is taken as
    ``nvidia-smi``'s, of which CUDA sees at most 768 MiB less.
    """
    models = list({model.name: model for model in gpu_models().values()}.values())
    printed = min(abs(total - figure) for model in models for figure in (model.memory, *model.also))
    seen = min(abs(total - model.cuda_memory) for model in models)
    if min(printed, seen) > SAME_TOTAL * total:
        return Device(model=None, cuda=total - SMI_TO_CUDA, basis="an unknown card: nvidia-smi's total less 768 MiB")
    by_cuda = seen < printed
    alike = [
        model
        for model in models
        for figure in ((model.cuda_memory,) if by_cuda else (model.memory, *model.also))
        if abs(total - figure) == min(printed, seen)
    ]
    # Of several cards of one total those whose CUDA memory was seen stand before those for which it is a rule.
    alike.sort(key=lambda model: model.cuda_memory == model.memory - SMI_TO_CUDA)
    names = ", ".join(model.name for model in alike[:3]) + (" …" if len(alike) > 3 else "")
    if by_cuda:
        return Device(model=alike[0], cuda=total, basis=f"what CUDA sees of a card ({names})")
    return Device(model=alike[0], cuda=alike[0].cuda_memory, basis=f"a card of {total // MIB} MiB ({names})")
