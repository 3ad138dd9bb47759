"""GPU sets and the PCI tree they show."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hermeion.errors import LabError
from hermeion.lab.gpus.pci import functions_of, write_tree
from hermeion.lab.gpus.sets import parse_gpu_set, read_forms
from hermeion.lab.hosts import parse_host

MODELS = "V100-32GB, T4, A100-80GB, RTX4090, L40S, H100-SXM, H200-SXM, RTX5090"


@pytest.mark.parametrize(("text", "count"), [("none", 0), ("1xL40S", 1), ("2xRTX4090", 2), ("8xH100-SXM", 8)])
def test_a_set_has_its_boards(text: str, count: int) -> None:
    gpus = parse_gpu_set(text)
    assert gpus.count == count
    assert len([f for f in functions_of(gpus) if f.pci_class >> 16 == 0x03]) == count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L40S", f"'L40S' is not a GPU set: write none or NxMODEL, for example 1xL40S. Models: {MODELS}."),
        ("0xT4", f"'0xT4' is not a GPU set: write none or NxMODEL, for example 1xL40S. Models: {MODELS}."),
        ("2xVoodoo", f"the lab has no recorded form of a 'Voodoo'. Models: {MODELS}."),
        ("9xT4", "'9xT4' asks for 9 boards in one host: at most 8. Spread them over several hosts."),
    ],
)
def test_a_wrong_set_is_refused(text: str, message: str) -> None:
    with pytest.raises(LabError) as caught:
        parse_gpu_set(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu-1", "--host 'gpu-1': write NAME=GPUSET[@SUITE][+STATE], for example --host gpu-1=1xL40S."),
        (
            "GPU_1=none",
            "'GPU_1' is not a host name: a name starts with a letter and has at most 31 lower-case letters, digits "
            "and hyphens. Choose another, for example host-1.",
        ),
    ],
)
def test_a_wrong_host_is_refused(text: str, message: str) -> None:
    with pytest.raises(LabError) as caught:
        parse_host(text)
    assert str(caught.value) == message


def test_eight_h100_come_with_four_switches() -> None:
    switches = [f for f in functions_of(parse_gpu_set("8xH100-SXM")) if f.pci_class == 0x068000]
    assert [(f.device, f.address) for f in switches] == [(0x22A3, f"0000:{bus:02x}:00.0") for bus in range(7, 11)]
    assert not [f for f in functions_of(parse_gpu_set("4xH100-SXM")) if f.pci_class == 0x068000]


def test_the_tree_is_what_the_kernel_shows(tmp_path: Path) -> None:
    write_tree(parse_gpu_set("1xL40S"), tmp_path)
    (folder,) = tmp_path.iterdir()
    assert folder.name == "0000:01:00.0"
    assert (folder / "vendor").read_text() == "0x10de\n"
    assert (folder / "device").read_text() == "0x26b9\n"
    assert (folder / "class").read_text() == "0x030200\n"
    config = (folder / "config").read_bytes()
    assert len(config) == 256
    assert struct.unpack_from("<HH", config, 0x00) == (0x10DE, 0x26B9)
    assert struct.unpack_from("<I", config, 0x08)[0] == 0x030200A1  # class and revision
    assert struct.unpack_from("<HH", config, 0x2C) == (0x10DE, 0x1851)


def test_a_tree_is_changed_in_place(tmp_path: Path) -> None:
    before = tmp_path.stat().st_ino
    write_tree(parse_gpu_set("2xT4"), tmp_path)
    write_tree(parse_gpu_set("none"), tmp_path)
    assert not list(tmp_path.iterdir())
    assert tmp_path.stat().st_ino == before


def test_every_form_is_whole() -> None:
    for form in read_forms().values():
        assert form.pci_class in (0x030000, 0x030200)
        assert (form.switch is None) == (form.switches == 0)
