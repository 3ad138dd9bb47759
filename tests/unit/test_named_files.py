"""Files of this machine that an inventory names."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermeion.errors import InventoryError
from hermeion.named_files import read_locks
from tests.unit.builders import make_spec

NATIVE = {"name": "hermes", "model": "hermes-3-8b", "runtime": "systemd"}


def test_locks_by_service(tmp_path: Path) -> None:
    """The text of each file that a service names, and nothing for those that name none."""
    (tmp_path / "lock.txt").write_text("vllm==1\n")
    spec = make_spec(
        {**NATIVE, "requirements": str(tmp_path / "lock.txt")}, {"name": "b", "model": "hermes-3-8b", "port": 8001}
    )

    assert {"hermes": "vllm==1\n"} == read_locks("gpu-1", spec)


def test_a_lock_that_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be read is named with the key that names it."""
    path = tmp_path / "lock.txt"
    with pytest.raises(InventoryError) as caught:
        read_locks("gpu-1", make_spec({**NATIVE, "requirements": str(path)}))

    assert (
        f"gpu-1: hermes_services/hermes/requirements: {path} cannot be read: [Errno 2] No such file or directory: "
        f"'{path}'" == str(caught.value)
    )
