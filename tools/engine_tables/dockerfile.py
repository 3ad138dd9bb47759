"""Facts of an official image from its Dockerfile."""

from __future__ import annotations

import json
import re
from typing import Any

_STAGE = re.compile(r"^FROM\s+(\S+)\s+AS\s+(\S+)", re.IGNORECASE | re.MULTILINE)


def _stages(text: str) -> dict[str, str]:
    marks = list(_STAGE.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark[2]: text[mark.end() : end] for mark, end in zip(marks, ends, strict=True)}


def vllm(text: str | None) -> dict[str, Any]:
    """What vLLM's Dockerfile says of ``vllm/vllm-openai``; empty: the release carries none (a wheel).

    The user is the one that the image was made for and does not start as: 2000 of group 0.
    """
    if text is None:
        return {}
    entrypoint = re.findall(r"^ENTRYPOINT (\[.*\])", _stages(text).get("vllm-openai", ""), re.MULTILINE)
    cuda = re.search(r"^ARG CUDA_VERSION=(\S+)", text, re.MULTILINE)
    architectures = re.search(r"^ARG torch_cuda_arch_list='([^']+)'", text, re.MULTILINE)
    user = re.search(r"useradd --uid (\d+) --gid (\d+)", text)
    return {
        "entrypoint": json.loads(entrypoint[-1]) if entrypoint else [],
        "user": f"{user[1]}:{user[2]}" if user else None,
        "cuda": cuda[1] if cuda else None,
        "capabilities": architectures[1].replace("+PTX", "").split() if architectures else [],
    }
