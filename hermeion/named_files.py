"""Files of this machine that an inventory names, as text."""

from __future__ import annotations

from pathlib import Path
from typing import overload

from hermeion.errors import InventoryError
from hermeion.inventory import HostSpec


@overload
def read_named(host: str, key: str, path: str) -> str: ...
@overload
def read_named(host: str, key: str, path: None) -> None: ...
@overload
def read_named(host: str, key: str, path: str | None) -> str | None: ...
def read_named(host: str, key: str, path: str | None) -> str | None:
    """Text of the file at ``path``, which the inventory names under ``key``; ``None`` if it names none.

    Raises:
        InventoryError: It cannot be read.
    """
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{host}: {key}: {path} cannot be read: {error}") from error


def read_locks(host: str, spec: HostSpec) -> dict[str, str]:
    """Locked requirements of native engines by service, of those that name a file.

    Raises:
        InventoryError: A file cannot be read.
    """
    named = ((service.name, service.requirements) for service in spec.hermes_services if service.requirements)
    return {name: read_named(host, f"hermes_services/{name}/requirements", path) for name, path in named}
