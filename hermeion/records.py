"""The base of every value that is compared, saved or shown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Immutable, and an unknown field is an error that names its path."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def to_json(self) -> dict[str, object]:
        """What ``pyinfra INVENTORY fact`` and ``--json`` print."""
        return self.model_dump(mode="json")
