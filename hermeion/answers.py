"""Questions that a host asks over HTTP, with ``curl`` or ``wget``, and how its answers are read.

Secrets reach the script over standard input only.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Literal

from hermeion.errors import SourceError
from hermeion.inventory import HostSpec
from hermeion.records import Record

HUB = "https://huggingface.co"

Question = Literal["hub", "registry", "model", "folder", "bucket", "sums"]
"""The scripts ``ask_<question>.sh``."""


class Answer(Record):
    """One HTTP answer as the host saw it. ``status`` is 0 when there was none; ``error`` says why."""

    status: int
    sha256: str
    error: str
    body: str


def hub_url(spec: HostSpec) -> str:
    """The Hub or its mirror, without a final slash."""
    return (spec.hermes_mirrors.hub or HUB).rstrip("/")


def question(questions: Sequence[Question], values: Mapping[str, str], *, ca: str | None, token: str | None) -> str:
    """A script that asks; it prints one ``@name``…``@=status error`` section per answer.

    Args:
        values: Shell variables that the questions read.
        ca: Certificates to trust, or ``None``: the host's own.
        token: Token for the Hub, or ``None``.
    """
    variables = {"CA": ca or "", "TOKEN": token or "", **values}
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    folder = files("hermeion")
    texts = [folder.joinpath(name).read_text() for name in ("ask.sh", *(f"ask_{name}.sh" for name in questions))]
    return head + "".join(texts) + "exit 0\n"


def parse_answers(lines: Iterable[str]) -> dict[str, Answer]:
    """Sections of the script's output by name."""
    answers: dict[str, Answer] = {}
    name = ""
    body: list[str] = []
    for line in lines:
        if line.startswith("@=") and name:
            status, sha256, error = (line[2:] + " ").split(" ", 2)
            answers[name] = Answer(status=int(status), sha256=sha256, error=error.strip(), body="\n".join(body))
            name = ""
        elif line.startswith("@") and not name:
            name, body = line[1:], []
        elif name:
            body.append(line)
    return answers


def judge_tool(host: str, answers: Mapping[str, Answer]) -> None:
    """See that the host could ask at all.

    Raises:
        SourceError: It has neither ``curl`` nor ``wget``.
    """
    if "tool" in answers:
        raise SourceError(
            f"{host}: neither curl nor wget is here to ask the Hub and the registry before anything is changed. "
            "Install one (apt-get install -y curl ca-certificates), then run again."
        )


def judge_hub(subject: str, hub: str, repo: str, revision: str | None, answer: Answer) -> None:
    """See that the Hub gave what was asked for.

    Raises:
        SourceError: It refuses, has no such thing, or cannot be reached.
    """
    if answer.status == 200:
        return
    what = f"{subject}: the Hub {hub} "
    if answer.status in {401, 403}:
        raise SourceError(
            f"{what}refuses {repo} ({answer.status}): it is gated, private, or does not exist. Check the "
            "name, accept its terms on the Hub, and pass a token: export HF_TOKEN=hf_…, then run again."
        )
    if answer.status == 404:
        raise SourceError(
            f"{what}has no {repo} at revision {revision or 'main'} (404). Check repo and revision "
            "of the model in hermes_catalog."
        )
    if answer.status:
        raise SourceError(f"{what}answers {answer.status}. Nothing was changed; try again later.")
    raise SourceError(
        f"{what}cannot be reached from the host ({answer.error}). Check the network and hermes_mirrors/hub, "
        "hermes_mirrors/ca."
    )
