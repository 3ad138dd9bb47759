"""Faults on request: what a test turns to see how a client behaves."""

from __future__ import annotations

import re
import threading
from dataclasses import asdict, dataclass, field
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
    retry_after_date: bool = False
    """Say them as the moment when they are over, the header's other form."""


@dataclass
class BodyKnob:
    """Spoil the bodies of files whose path matches ``path``."""

    path: str
    bytes_per_second: int | None = None
    """For each connection."""
    drop_after: int | None = None
    """Close the connection after this many bytes of the body."""
    stall_after: int | None = None
    """Send this many bytes of the body, then nothing until the client leaves or the knob is off; then the rest."""
    corrupt: bool = False
    """Flip the bits of the first byte: the size stays right, the content is wrong."""
    length: int | None = None
    """Be a file of this many bytes: cut, or with zeros at its end. Content-Length agrees, the tree does not."""
    missing: int | None = None
    """Content-Length promises this many bytes that never come: the connection is closed before them."""
    times: int | None = None


@dataclass
class RedirectKnob:
    """Send GET and HEAD of the Hub's files whose path matches ``path`` to the other origin, with a signed address."""

    path: str
    times: int | None = None


@dataclass
class TokenKnob:
    """Requests whose path matches ``path`` need a token: 401 without one, 403 with another."""

    path: str
    sha256: str
    """Of the token, hexadecimal: the token itself is nowhere in the server."""
    times: int | None = None


_Knob = TypeVar("_Knob", StatusKnob, BodyKnob, RedirectKnob, TokenKnob)

_USUAL_CODES = {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound"}


@dataclass(frozen=True)
class Settings:
    """Every knob: lists of faults by path, of which the first that matches counts, and what holds for the server."""

    statuses: list[StatusKnob] = field(default_factory=list)
    bodies: list[BodyKnob] = field(default_factory=list)
    redirects: list[RedirectKnob] = field(default_factory=list)
    tokens: list[TokenKnob] = field(default_factory=list)
    bytes_per_second_total: int | None = None
    """All bodies together: an uplink that the clients share."""
    page_size: int | None = None
    """Entries of a tree listing that are on one page; the next page is in its Link header."""
    branches: dict[str, str] = field(default_factory=dict)
    """Revision at which ``main`` stands, by repository; others stand at their newest."""


_LISTS = {"statuses": StatusKnob, "bodies": BodyKnob, "redirects": RedirectKnob, "tokens": TokenKnob}
_VALUES: dict[str, type] = {"bytes_per_second_total": int, "page_size": int, "branches": dict}


class Knobs:
    """Every fault that is on. ``POST /_lab/knobs`` replaces them all, ``DELETE`` turns them off."""

    def __init__(self) -> None:
        self.now = Settings()
        self._lock = threading.Lock()

    def replace(self, wanted: dict[str, Any]) -> None:
        """Turn on exactly what is wanted: ``{"statuses": [...], "page_size": 2}``, the fields of ``Settings``.

        Raises:
            KnobError: A key, a value or a pattern is wrong.
        """
        unknown = set(wanted) - set(_LISTS) - set(_VALUES)
        if unknown:
            message = f"unknown keys {sorted(unknown)}: there are {', '.join([*_LISTS, *_VALUES])}"
            raise KnobError(message)
        try:
            lists = {key: [kind(**entry) for entry in wanted.get(key, [])] for key, kind in _LISTS.items()}
            for knobs in lists.values():
                for knob in knobs:
                    re.compile(knob.path)
        except (TypeError, re.error) as error:
            raise KnobError(str(error)) from error
        values = {key: wanted[key] for key in _VALUES if wanted.get(key) is not None}
        for key, value in values.items():
            if not isinstance(value, _VALUES[key]) or not value:
                message = f"{key}: {value!r} is no {_VALUES[key].__name__} above zero"
                raise KnobError(message)
        with self._lock:
            self.now = Settings(**lists, **values)  # type: ignore[arg-type]  # the lists are of the kinds above

    def describe(self) -> dict[str, Any]:
        """What is on, as ``replace`` takes it; ``times`` is what is left."""
        with self._lock:
            return asdict(self.now)

    def status_for(self, path: str) -> StatusKnob | None:
        """The status to force on this request, counted down."""
        found = self._take(self.now.statuses, path)
        if found is not None and not found.error_code:
            found.error_code = _USUAL_CODES.get(found.status, "")
        return found

    def body_for(self, path: str) -> BodyKnob | None:
        """The fault to put into this body, counted down."""
        return self._take(self.now.bodies, path)

    def is_on(self, knob: BodyKnob) -> bool:
        """Whether this knob has not been replaced since it was taken."""
        return any(knob is one for one in self.now.bodies)

    def redirects(self, path: str) -> bool:
        """Whether this file is on the other origin, counted down."""
        return self._take(self.now.redirects, path) is not None

    def token_for(self, path: str) -> TokenKnob | None:
        """The token that this request needs, counted down."""
        return self._take(self.now.tokens, path)

    def _take(self, knobs: list[_Knob], path: str) -> _Knob | None:
        with self._lock:
            for knob in knobs:
                if knob.times != 0 and re.search(knob.path, path):
                    if knob.times is not None:
                        knob.times -= 1
                    return knob
        return None
