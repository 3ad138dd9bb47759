"""Sizes and durations as people read them."""

from __future__ import annotations

import pytest

from hermeion.units import format_bytes, format_progress, format_seconds


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (-1536, "-1.5 KiB"),
        (25757220864, "24.0 GiB"),
        (5 * 1024**4, "5.0 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    """Bytes are shown in binary units; beyond TiB there is no unit."""
    assert text == format_bytes(count)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (4.25, "4.2 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (3720, "1 h 02 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    """Seconds grow into minutes and hours."""
    assert text == format_seconds(seconds)


@pytest.mark.parametrize(
    ("done", "total", "rate", "text"),
    [
        (1024**2, 4 * 1024**2, 512 * 1024, "1.0 MiB of 4.0 MiB (25 %), 512.0 KiB/s, 6.0 s left"),
        (0, 4 * 1024**2, 0, "0 bytes of 4.0 MiB (0 %), 0 bytes/s, unknown left"),
        (7, 7, 1, "7 bytes of 7 bytes (100 %), 1 bytes/s, 0.0 s left"),
        (0, 0, 0, "0 bytes of 0 bytes (100 %), 0 bytes/s, unknown left"),
    ],
)
def test_progress(done: int, total: int, rate: float, text: str) -> None:
    """Progress tells bytes, share, rate and time left, also at its two ends."""
    assert text == format_progress(done, total, rate)
