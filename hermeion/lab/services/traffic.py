"""How many bytes went out, to whom, and how fast they may."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any


class Traffic:
    """Bytes of bodies that were given to the network since the last ``clear``: by path, by client, and by both.

    What a client that leaves does not read is counted up to the size of the sockets' buffers, a few megabytes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: Counter[tuple[str, str]] = Counter()

    def add(self, path: str, client: str, count: int) -> None:
        """``count`` more bytes of ``path`` went to ``client``."""
        with self._lock:
            self._sent[path, client] += count

    def clear(self) -> None:
        """Begin to count again."""
        with self._lock:
            self._sent.clear()

    def describe(self) -> dict[str, Any]:
        """``{"total": n, "paths": {path: n}, "clients": {address: n}, "rows": [{"path", "client", "bytes"}, …]}``."""
        with self._lock:
            rows = sorted(self._sent.items())
        paths: Counter[str] = Counter()
        clients: Counter[str] = Counter()
        for (path, client), count in rows:
            paths[path] += count
            clients[client] += count
        listed = [{"path": path, "client": client, "bytes": count} for (path, client), count in rows]
        return {"total": sum(paths.values()), "paths": dict(paths), "clients": dict(clients), "rows": listed}


class Uplink:
    """A line that all bodies share: who sends waits until the line is free for its bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, count: int, bytes_per_second: int) -> None:
        """Wait for the turn of ``count`` bytes on a line of that rate."""
        now = time.monotonic()
        with self._lock:
            begin = max(self._free_at, now)
            self._free_at = begin + count / bytes_per_second
        time.sleep(max(0.0, begin - now))

    def reset(self) -> None:
        """Forget who waits: the rate has changed."""
        with self._lock:
            self._free_at = 0.0
