"""What a source of weights is, and how it fails."""

from __future__ import annotations

from typing import Protocol

from .job import File
from .parts import Part


class Retry(Exception):  # noqa: N818  # it is a wish
    """What may go better next time: a connection that was cut, a server that is busy.

    Attributes:
        wait: Seconds that the server asked to wait, or ``None``: the usual time.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Wrong(Exception):  # noqa: N818  # it is a finding
    """What comes is not the file that was promised: of another size, or other bytes. It is fetched once more."""


class Refused(Exception):  # noqa: N818  # it is an answer
    """What does not go better by trying again; the message is for the person who reads it."""


class Stopped(Exception):  # noqa: N818  # it is a wish
    """Somebody wants the pull to end, or another file of it has failed."""


class Source(Protocol):
    """Where bytes come from. Built as root, before the program becomes the cache's owner."""

    name: str
    """For messages: ``the Hub https://huggingface.co``, ``gpu-1 (10.0.0.11)``."""

    def fill(self, file: File, part: Part) -> None:
        """Append to the part what is missing; many files are filled at the same time.

        Whoever calls it looks at ``part.size`` and ``part.is_good`` afterwards, and calls again after a ``Retry``.
        If not a byte comes for the job's ``stall_seconds``, it raises ``Retry``.

        Raises:
            Retry: It may be tried again; what was appended stays.
            Wrong: It is another file. What was appended is thrown away.
            Refused: It must not.
        """
