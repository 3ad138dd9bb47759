"""What the puller says: lines for those who wait, sentences with figures."""

from __future__ import annotations

import threading

_TURN = threading.Lock()


def say(kind: str, *words: object) -> None:
    """One line of the job's protocol: ``##kind words``. Threads take turns."""
    text = " ".join(str(word) for word in words)
    with _TURN:
        print(f"##{kind} {' '.join(text.split())}", flush=True)


def note(text: str) -> None:
    """Something that those who wait want to know."""
    say("note", text)


def size_text(count: int) -> str:
    """Bytes as binary units with one decimal: ``size_text(1536) == "1.5 KiB"``."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{int(size)} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def seconds_text(seconds: float) -> str:
    """Seconds as ``0.5 s``, ``30 s`` or ``2 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
