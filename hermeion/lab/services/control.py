"""What a test tells and asks the server: ``/_lab/…``."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from .answers import Answer, json_answer
from .knobs import KnobError, Knobs
from .traffic import Traffic, Uplink

PREFIX = "/_lab/"
_LOG_LENGTH = 5000


class Control:
    """The knobs, the log and the counters of one server with all its origins.

    Attributes:
        log: The last requests, oldest first.
    """

    def __init__(self) -> None:
        self.knobs = Knobs()
        self.traffic = Traffic()
        self.uplink = Uplink()
        self.log: deque[dict[str, Any]] = deque(maxlen=_LOG_LENGTH)

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Answer a request below ``/_lab/``."""
        match method, path.removeprefix(PREFIX):
            case "GET", "health":
                pass
            case "GET", "requests":
                return json_answer(200, list(self.log))
            case "DELETE", "requests":
                self.log.clear()
            case "GET", "traffic":
                return json_answer(200, self.traffic.describe())
            case "DELETE", "traffic":
                self.traffic.clear()
            case "GET", "knobs":
                return json_answer(200, self.knobs.describe())
            case "DELETE", "knobs":
                self._turn({})
            case "POST", "knobs":
                try:
                    self._turn(json.loads(body))
                except (KnobError, ValueError) as error:
                    return json_answer(400, {"error": str(error)})
            case _:
                return json_answer(404, {"error": f"no {method} {path}"})
        return json_answer(200, {"ok": True})

    def _turn(self, wanted: dict[str, Any]) -> None:
        self.knobs.replace(wanted)
        self.uplink.reset()
