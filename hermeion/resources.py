"""Where the deploys, templates and host tests are: at the top of a checkout, or inside an installed wheel."""

from __future__ import annotations

from pathlib import Path


def share(name: str) -> Path:
    """Folder ``deploys``, ``templates`` or ``tests/hosts``."""
    package = Path(__file__).parent
    installed = package / "_share" / name
    return installed if installed.exists() else package.parent / name
