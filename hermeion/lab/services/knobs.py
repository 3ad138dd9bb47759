"""Faults on request: what a test turns to see how a client behaves."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any, TypeVar


class KnobError(ValueError):
    """A knob that does not exist or has a value that makes no sense."""


@dataclass
class StatusKnob:
    """Answer ``status`` to requests whose path matches ``path``."""

    path: str
    status: int
    error_code: str = ""
    """Value of X-Error-Code; empty: the usual one of that status."""
    times: int | None = None
    """How many requests are answered so; None: all."""
    retry_after: int | None = None
    """Seconds for the Retry-After header; None: no such header."""


@dataclass
class BodyKnob:
    """Spoil the bodies of files whose path matches ``path``."""

    path: str
    bytes_per_second: int | None = None
    drop_after: int | None = None
    """Close the connection after this many bytes of the body."""
    corrupt: bool = False
    """Flip the bits of the first byte: the size stays right, the content is wrong."""
    times: int | None = None


_Knob = TypeVar("_Knob", StatusKnob, BodyKnob)

_USUAL_CODES = {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound"}


@dataclass
class Knobs:
    """Every fault that is on. ``POST /_lab/knobs`` replaces them all, ``DELETE`` turns them off."""

    statuses: list[StatusKnob] = field(default_factory=list)
    bodies: list[BodyKnob] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def replace(self, wanted: dict[str, Any]) -> None:
        """Turn on exactly what ``{"statuses": [...], "bodies": [...]}`` says.

        Raises:
            KnobError: A key, a value or a pattern is wrong.
        """
        unknown = set(wanted) - {"statuses", "bodies"}
        if unknown:
            message = f"unknown keys {sorted(unknown)}: there are statuses and bodies"
            raise KnobError(message)
        try:
            statuses = [StatusKnob(**entry) for entry in wanted.get("statuses", [])]
            bodies = [BodyKnob(**entry) for entry in wanted.get("bodies", [])]
            for path in [knob.path for knob in statuses] + [knob.path for knob in bodies]:
                re.compile(path)
        except (TypeError, re.error) as error:
            raise KnobError(str(error)) from error
        with self._lock:
            self.statuses, self.bodies = statuses, bodies

    def status_for(self, path: str) -> StatusKnob | None:
        """The status to force on this request, counted down."""
        with self._lock:
            found = self._take(self.statuses, path)
        if found is not None and not found.error_code:
            found.error_code = _USUAL_CODES.get(found.status, "")
        return found

    def body_for(self, path: str) -> BodyKnob | None:
        """The fault to put into this body, counted down."""
        with self._lock:
            return self._take(self.bodies, path)

    @staticmethod
    def _take(knobs: list[_Knob], path: str) -> _Knob | None:
        for knob in knobs:
            if knob.times != 0 and re.search(knob.path, path):
                if knob.times is not None:
                    knob.times -= 1
                return knob
        return None
