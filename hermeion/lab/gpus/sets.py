"""GPU sets by name: ``1xL40S``, ``8xH100-SXM``, ``none``."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from hermeion.errors import LabError

BOARDS_MAX = 8  # more than eight boards in one host is no system we know
_SET = re.compile(r"([1-9][0-9]*)x(.+)")


@dataclass(frozen=True)
class GpuForm:
    """What a board shows on the PCI bus, as recorded."""

    model: str
    device: int
    pci_class: int
    """24 bits: 0x030000 VGA, 0x030200 3D controller."""
    subsystem_vendor: int
    subsystem_device: int
    switch: int | None
    """PCI device id of the NVSwitches beside eight such boards; None: no NVSwitch."""
    switches: int


@dataclass(frozen=True)
class GpuSet:
    """``count`` boards of one form; ``form`` None means a host without GPUs."""

    text: str
    count: int
    form: GpuForm | None


def forms_csv() -> str:
    """The data file with one recorded form per line."""
    return resources.files("hermeion.lab.gpus").joinpath("forms.csv").read_text(encoding="utf-8")


@cache
def read_forms() -> dict[str, GpuForm]:
    """Recorded forms by model name, in the order of the data file."""
    lines = [line for line in forms_csv().splitlines() if not line.startswith("#")]
    forms = {}
    for row in csv.DictReader(lines):
        vendor, device = row["subsystem"].split(":")
        forms[row["model"]] = GpuForm(
            model=row["model"],
            device=int(row["device"], 16),
            pci_class=int(row["class"], 16),
            subsystem_vendor=int(vendor, 16),
            subsystem_device=int(device, 16),
            switch=int(row["switch"], 16) if row["switch"] else None,
            switches=int(row["switches"]),
        )
    return forms


def parse_gpu_set(text: str) -> GpuSet:
    """Read a GPU set.

    Raises:
        LabError: It is not of the form ``NxMODEL``, the model has no recorded form, or N is above eight.
    """
    if text == "none":
        return GpuSet(text, 0, None)
    models = ", ".join(read_forms())
    match = _SET.fullmatch(text)
    if match is None:
        message = f"{text!r} is not a GPU set: write none or NxMODEL, for example 1xL40S. Models: {models}."
        raise LabError(message)
    count, model = int(match[1]), match[2]
    form = read_forms().get(model)
    if form is None:
        message = f"the lab has no recorded form of a {model!r}. Models: {models}."
        raise LabError(message)
    if count > BOARDS_MAX:
        message = f"{text!r} asks for {count} boards in one host: at most {BOARDS_MAX}. Spread them over several hosts."
        raise LabError(message)
    return GpuSet(text, count, form)
