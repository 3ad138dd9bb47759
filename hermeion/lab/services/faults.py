"""Bodies with a fault in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from .answers import Answer, FileAnswer
from .knobs import BodyKnob

CHUNK = 256 * 1024
_SMALLEST = 4 * 1024
_STALL_STEP = 0.05  # seconds between two looks whether a stall is over


def chunk_for(*rates: int | None) -> int:
    """Bytes to send at a time: many, or with a rate those of a twentieth of a second."""
    return max(_SMALLEST, min([CHUNK, *(rate // 20 for rate in rates if rate)]))


def resize(answer: Answer, fault: BodyKnob | None) -> Answer:
    """The answer with a file of the length that the fault wants; all else stays."""
    if fault is None or fault.length is None or not isinstance(answer, FileAnswer):
        return answer
    return replace(answer, length=fault.length)


def spoil(
    chunks: Iterable[memoryview], total: int, fault: BodyKnob, stall_is_over: Callable[[], bool | None]
) -> Iterator[memoryview | bytes | None]:
    """The same chunks with the fault put in; None means: hang up here.

    Args:
        total: Bytes of all chunks.
        stall_is_over: Asked while nothing is sent: True: send the rest; None: the client has left.
    """
    ends = [end for end in (fault.drop_after, total - fault.missing if fault.missing else None) if end is not None]
    end = max(0, min(ends)) if ends else None
    stall = fault.stall_after
    sent, start = 0, time.monotonic()

    def wait() -> bool:
        while not (over := stall_is_over()):
            if over is None:
                return False
            time.sleep(_STALL_STEP)
        return True

    if stall == 0:
        stall = None
        if not wait():
            yield None
            return
    for whole in chunks:
        chunk: memoryview | bytes = whole
        if fault.corrupt and sent == 0:
            chunk = bytes([chunk[0] ^ 0xFF]) + bytes(chunk[1:])
        if stall is not None and sent + len(chunk) >= stall:
            yield chunk[: stall - sent]
            chunk, sent, stall = chunk[stall - sent :], stall, None
            if not wait():
                yield None
                return
        if end is not None and sent + len(chunk) > end:
            yield chunk[: end - sent]
            yield None
            return
        if fault.bytes_per_second:
            time.sleep(max(0.0, start + sent / fault.bytes_per_second - time.monotonic()))
        yield chunk
        sent += len(chunk)
