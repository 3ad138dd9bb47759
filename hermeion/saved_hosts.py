"""A host in a file: its probe, and what the files of its own models say. Written by ``hermeion probe``, planned from
without a connection.

A saved host holds no secret. Whatever could be one is taken out before it is written: user names and passwords in
URLs, values of keys such as ``splunk-token`` in Docker's configuration, and hashes of files that only root may read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from hermeion.errors import ProbeError
from hermeion.probe import Probe
from hermeion.records import Record
from hermeion.variants import ModelFacts

FORMAT = 2

REDACTED = "REDACTED"

USERINFO = re.compile(r"(?<=://)[^/\s\"'?#]*@")
"""User and password of a URL: what stands between ``//`` and the last ``@`` of the authority."""

BARE_USERINFO = re.compile(r"^[^\s:@/]+:[^\s/]+@(?=[\w.-]+)")
"""The same in a proxy that is written without a scheme: ``user:password@proxy:3128``."""

QUERY_SECRET = re.compile(r"(?<=[?&])((?:\w*token|\w*key|sig|\w*signature|password|secret)=)[^&\s\"']+", re.IGNORECASE)
"""A secret in the query of a URL."""

SECRET_KEY = re.compile(
    r"(^|[-_.])(token|password|passwd|secret|credential|api[-_]?key|access[-_]?key|auth)s?$", re.IGNORECASE
)

SECRET_PAIR = re.compile(
    r"(\"[^\"]*(?:token|password|passwd|secret|credential|api[-_]?key|access[-_]?key|auth)s?\"\s*:\s*\")[^\"]*",
    re.IGNORECASE,
)
"""The same in a text that is no JSON."""


class SavedHost(Record):
    """What one file holds.

    Attributes:
        host: Its name in the inventory.
        models: What own models' files say, by name.
    """

    format: Literal[2]
    host: str = Field(min_length=1)
    probe: Probe
    models: dict[str, ModelFacts] = Field(default={})


def canonical(value: Any) -> Any:
    """A record as JSON has it, its sets in order: the same value gives the same text."""
    if isinstance(value, Record):
        return {name: canonical(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(canonical(item) for item in value)
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    return value


def _clean_text(text: str) -> str:
    """A text without what is secret in its URLs."""
    return QUERY_SECRET.sub(rf"\g<1>{REDACTED}", USERINFO.sub(f"{REDACTED}@", text))


def _clean(value: Any, key: str = "") -> Any:
    """A value of JSON without secrets."""
    if isinstance(value, str):
        return REDACTED if value and SECRET_KEY.search(key) else _clean_text(value)
    if isinstance(value, Mapping):
        return {name: _clean(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, key) for item in value]
    return value


def _without_bare(value: Any) -> Any:
    """A value of JSON without user and password of proxies that are written without a scheme."""
    if isinstance(value, str):
        return BARE_USERINFO.sub(f"{REDACTED}@", value)
    if isinstance(value, Mapping):
        return {name: _without_bare(item) for name, item in value.items()}
    return [_without_bare(item) for item in value] if isinstance(value, list) else value


def _clean_daemon_json(text: str) -> str:
    """Docker's configuration without secrets; as it was if there are none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return SECRET_PAIR.sub(rf"\g<1>{REDACTED}", _clean_text(text.replace("\\/", "/")))
    cleaned = _clean(_without_bare(data))
    return text if cleaned == data else json.dumps(cleaned, indent=2)


def without_secrets(probe: Probe) -> dict[str, Any]:
    """The probe as JSON, without anything that could be a secret."""
    data: dict[str, Any] = canonical(probe)
    daemon_json = data.pop("daemon_json")
    cleaned: dict[str, Any] = _clean(data)
    cleaned["daemon_json"] = None if daemon_json is None else _clean_daemon_json(daemon_json)
    for file in cleaned["files"].values():
        if file["mode"][-1:] == "0":  # others may not read it, so nobody else gets a hash to guess its content with
            file["sha256"] = ""
    return cleaned


def dump_host(name: str, probe: Probe, facts: Mapping[str, ModelFacts] | None = None) -> str:
    """The text of a file: the same host gives the same text."""
    data = {"format": FORMAT, "host": name, "probe": without_secrets(probe), "models": canonical(dict(facts or {}))}
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def _first_problem(error: ValidationError) -> str:
    problems = error.errors()
    first = problems[0]
    path = "/".join(str(part) for part in first["loc"])
    message = {"missing": "is missing", "extra_forbidden": "is not known to this release"}.get(first["type"])
    text = f"{path}: {message or first['msg'][:1].lower() + first['msg'][1:]}"
    more = len(problems) - 1
    return text + (f" (and {more} more)" if more else "")


def load_host(text: str, where: str) -> SavedHost:
    """Read a file's text.

    Args:
        where: The file, for messages.

    Raises:
        ProbeError: It is not a saved host, is broken, or lacks something; the message names the file.
    """
    again = "Make it anew: hermeion probe INVENTORY --save DIR."
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProbeError(
            f"{where}: broken: no JSON from line {error.lineno}, column {error.colno} on ({error.msg}). {again}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ProbeError(f"{where}: broken: no JSON that can be read. {again}") from error
    if not isinstance(data, dict) or not {"format", "host", "probe"} & set(data):
        raise ProbeError(f"{where}: not a saved host. hermeion probe INVENTORY --save DIR makes one.")
    if "format" in data and data["format"] != FORMAT:
        raise ProbeError(f"{where}: format {data['format']!r}, this release reads format {FORMAT}. {again}")
    try:
        return SavedHost.model_validate(data)
    except ValidationError as error:
        raise ProbeError(f"{where}: incomplete or foreign: {_first_problem(error)}. {again}") from error
