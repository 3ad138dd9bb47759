"""What the lab's stand-ins for kernel and compiler do: the shell scripts themselves, with the effects caught."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hermeion import lab
from hermeion.lab.gpus.pci import write_tree
from hermeion.lab.gpus.sets import parse_gpu_set
from hermeion.lab.states.entering import bind_functions

LAB = Path(lab.__file__).parent
FREE_GPUS = LAB / "images/host/free-gpus"
MAKE_MODULE = LAB / "packages/dkms-source/make-module"


def write_stub(folder: Path, name: str, body: str) -> None:
    """Put a command in front of the real one."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def boot(tmp_path: Path, driver: str, configuration: str) -> tuple[dict[str, bool], str]:
    """Bind the GPUs of a host, let it boot; which of the copy's functions are bound, and what was mounted."""
    tree, copy, stubs, mounts = (tmp_path / name for name in ("tree", "copy", "stubs", "mounts"))
    write_tree(parse_gpu_set("2xRTX4090"), tree)
    bind_functions(tree, driver)
    write_stub(stubs, "modprobe", f"printf '%b' '{configuration}'")
    write_stub(stubs, "mount", f'echo "$@" >> {mounts}')
    environment = os.environ | {"PATH": f"{stubs}:{os.environ['PATH']}"}
    subprocess.run(["sh", FREE_GPUS, tree, copy], env=environment, check=True)
    assert all((folder / "driver").is_symlink() for folder in tree.iterdir())  # this machine's tree stays
    bound = {folder.name: (folder / "driver").is_symlink() for folder in copy.iterdir()} if copy.exists() else {}
    return bound, mounts.read_text() if mounts.exists() else ""


@pytest.mark.parametrize("line", ["blacklist nouveau", "install nouveau /bin/false", "install nouveau /usr/bin/true"])
def test_nouveau_does_not_take_gpus_that_it_is_kept_from(tmp_path: Path, line: str) -> None:
    """A copy of the tree without its links lies over the tree; everything else in it is as it was."""
    bound, mounts = boot(tmp_path, "nouveau", f"blacklist radeonfb\\n{line}\\n")
    assert {"0000:01:00.0": False, "0000:21:00.0": False} == bound
    assert f"--bind {tmp_path}/copy {tmp_path}/tree\n" == mounts
    for file in (tmp_path / "copy").rglob("*"):
        if file.is_file():
            assert (tmp_path / "tree" / file.relative_to(tmp_path / "copy")).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("driver", "configuration"),
    [
        ("nouveau", "blacklist radeonfb\\noptions nouveau modeset=0\\n"),
        ("nouveau", "blacklist nouveau_vieux\\n"),
        ("vfio-pci", "blacklist nouveau\\n"),
    ],
)
def test_other_bindings_outlive_a_boot(tmp_path: Path, driver: str, configuration: str) -> None:
    """Nouveau's where nothing keeps it out, and vfio-pci's always."""
    assert ({}, "") == boot(tmp_path, driver, configuration)


@pytest.mark.parametrize(
    ("knob", "version", "status"),
    [
        (None, "570.211.01", 0),
        ("570.211.01\n", "570.211.01", 2),
        ("570.211.01\n", "580.178.04", 0),
        ("570\n", "570.211.01", 2),
        ("\n", "580.178.04", 2),
        ("", "580.178.04", 2),
        ("570.211.01", "570.211.01", 2),
    ],
)
def test_builds_fail_of_the_versions_that_the_knob_names(
    tmp_path: Path, knob: str | None, version: str, status: int
) -> None:
    """By the beginning of the version; a knob without content means all of them."""
    if knob is not None:
        (tmp_path / "dkms-fails").write_text(knob)
    script = MAKE_MODULE.read_text(encoding="utf-8")
    script = script.replace("@DRIVER@", version).replace("/etc/hermeion-lab", str(tmp_path))
    write_stub(tmp_path / "stubs", "as", 'cat > "$2"')
    environment = os.environ | {"PATH": f"{tmp_path}/stubs:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script, "make-module", "6.1"], cwd=tmp_path, env=environment, check=False)
    assert status == done.returncode
    assert (status == 0) == (tmp_path / "nvidia.ko").exists()
