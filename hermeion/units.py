"""Bytes, seconds and tokens as people read them. Inside the program sizes are plain ``int`` bytes."""

from __future__ import annotations

KIB = 1024
MIB = 1024**2
GIB = 1024**3


def format_bytes(count: int) -> str:
    """Bytes as binary units with one decimal: ``format_bytes(1536) == "1.5 KiB"``."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{int(size)} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """Seconds as ``4.2 s``, ``3 min 05 s`` or ``1 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_progress(done: int, total: int, rate: float) -> str:
    """``done`` of ``total`` bytes at ``rate`` bytes a second: bytes, share, rate and time left."""
    share = f"{100 * done / total:.0f} %" if total else "100 %"
    left = format_seconds((total - done) / rate) if rate > 0 else "unknown"
    return f"{format_bytes(done)} of {format_bytes(total)} ({share}), {format_bytes(int(rate))}/s, {left} left"
