"""The engines, in the order in which ``engine="auto"`` prefers them."""

from __future__ import annotations

from collections.abc import Mapping

from hermeion.engines import llamacpp, ollama, sglang, vllm
from hermeion.engines.protocol import Engine

ENGINES: Mapping[str, Engine] = {engine.NAME: engine for engine in (vllm, sglang, llamacpp, ollama)}
