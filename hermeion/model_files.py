"""What an own model's files say about it, asked from the host that will serve it, before anything is planned."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping

from hermeion.answers import Answer, hub_url, judge_hub, judge_tool, question
from hermeion.checksums import parse_sums, sums_revision
from hermeion.errors import ModelError, SourceError
from hermeion.headers import check_bytes, parse_gguf_header, parse_safetensors_header
from hermeion.inventory import HostSpec
from hermeion.model_config import parse_config
from hermeion.s3 import S3Access
from hermeion.sources import UNWANTED_FILES, WANTED_FILES, tree_pages, tree_rows, wanted_files
from hermeion.stores import Stored, read_store, store_question
from hermeion.variants import CatalogEntry, ModelFacts, gguf_pattern


def model_question(
    spec: HostSpec, entry: CatalogEntry, *, ca: str | None, token: str | None, access: S3Access | None = None
) -> str:
    """The script that reads a model's configuration, sizes and first header; answers as in ``answers``.

    Args:
        access: Who asks a bucket; ``None``: anybody.
    """
    if entry.source:
        return store_question(spec, entry.source, file=entry.file or "", ca=ca, access=access, model=True)
    if entry.path:
        return question(("folder",), {"FOLDER": entry.path, "FILE": entry.file or ""}, ca=ca, token=token)
    values = {
        "HUB": hub_url(spec),
        "REPO": str(entry.repo),
        "REVISION": entry.revision or "main",
        "FILE": entry.file or "",
    }
    return question(("hub", "model"), values, ca=ca, token=token)


def _listing(entry: CatalogEntry, answers: Mapping[str, Answer]) -> dict[str, int]:
    """Sizes in bytes by file name."""
    if entry.path:
        rows = (line.split(" ", 1) for line in answers["listing"].body.splitlines() if " " in line)
        return {name: int(size) for size, name in rows}
    if entry.file:
        return {row["path"]: row["size"] for row in tree_rows(answers) if row["type"] == "file"}
    return {file.path: file.size for file in wanted_files(answers)}


def _stored(host: str, spec: HostSpec, entry: CatalogEntry, answers: Mapping[str, Answer]) -> dict[str, Stored]:
    """What a bucket or folder holds of the model, by name.

    Raises:
        ModelError: The GGUF file is not there; those that are there are named.
    """
    where = f"{host}: hermes_catalog/{entry.name}"
    source = str(entry.source)
    if not entry.file:
        return read_store(host, f"{where}/source", spec, source, answers, WANTED_FILES, UNWANTED_FILES)
    stored = read_store(host, f"{where}/source", spec, source, answers, (gguf_pattern(entry.file),))
    if entry.file not in stored:
        raise _no_file(where, source, entry.file, parse_sums(answers["sums"].body))
    return stored


def _no_file(where: str, place: str, file: str, names: Iterable[str]) -> ModelError:
    there = ", ".join(sorted(name for name in names if name.endswith(".gguf")))
    return ModelError(f"{where}/file: {place} has no {file}. GGUF files there: {there or 'none'}.")


def _judge(host: str, spec: HostSpec, entry: CatalogEntry, answers: Mapping[str, Answer]) -> None:
    """See that the model could be read at all."""
    where = f"{host}: hermes_catalog/{entry.name}"
    first = "listing" if entry.path else "revision"
    if not entry.path:
        judge_tool(host, answers)
    if first not in answers:
        raise SourceError(f"{where}: asking about the model was cut short. Nothing was changed; run again.")
    if entry.path:
        if answers["listing"].status != 200:
            raise SourceError(f"{where}/path: there is no folder {entry.path} on the host. Copy the model there first.")
        return
    for name in ("revision", *tree_pages(answers)):
        judge_hub(where, hub_url(spec), str(entry.repo), entry.revision, answers[name])


def _gguf_files(file: str, sizes: Mapping[str, int]) -> list[str]:
    """The parts of a GGUF: itself, or with ``-00001-of-00003`` all that belong to it."""
    stem, mark, rest = file.partition("-00001-of-")
    if not mark:
        return [file]
    return sorted(name for name in sizes if name.startswith(f"{stem}-0") and name.endswith(f"-of-{rest}"))


def read_model(host: str, spec: HostSpec, entry: CatalogEntry, answers: Mapping[str, Answer]) -> ModelFacts:
    """What the model's own files say.

    Raises:
        SourceError: Where it comes from refuses or lacks it.
        ModelError: Its files are broken, contradict each other, or are of no known kind.
    """
    where = f"{host}: hermes_catalog/{entry.name}"
    place = f"{entry.source or entry.repo or entry.path}"
    stored = _stored(host, spec, entry, answers) if entry.source else {}
    if not entry.source:
        _judge(host, spec, entry, answers)
    try:
        sizes = {name: file.size for name, file in stored.items()} if entry.source else _listing(entry, answers)
        header = base64.b64decode(answers["header"].body) if "header" in answers else b""
        revision = entry.revision
        if entry.source:
            revision = revision or sums_revision({name: file.sha256 for name, file in stored.items()})
        elif not entry.path:
            revision = revision or str(json.loads(answers["revision"].body)["sha"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"{where}: what was answered about {place} cannot be read ({error!r}). Look for a proxy or a login page "
            "in between."
        ) from error
    if entry.path:
        listing = answers["listing"].body + (answers["config"].sha256 if "config" in answers else "")
        revision = hashlib.sha256(listing.encode()).hexdigest()[:40]
    if entry.file:
        if entry.file not in sizes:
            raise _no_file(where, place, entry.file, sizes)
        gguf = parse_gguf_header(header, f"{where}: {entry.file}", entry.file)
        size = sum(sizes[name] for name in _gguf_files(entry.file, sizes))
        return ModelFacts(revision=revision, precision=gguf.precision, bytes=size, shape=gguf.shape)
    weights = {name: size for name, size in sizes.items() if name.endswith(".safetensors")}
    if not weights:
        raise ModelError(
            f"{where}: {place} has no .safetensors file in its top folder. vLLM reads no other form; for a GGUF name "
            "it with `file`."
        )
    if "config" not in answers or answers["config"].status != 200:
        raise ModelError(f"{where}: {place} has no config.json, so nobody knows what model it is.")
    config = parse_config(answers["config"].body, f"{where}: config.json of {place}")
    size = sum(weights.values())
    if len(header) >= 8 and int.from_bytes(header[:8], "little") + 8 <= len(header):  # a longer one was not read whole
        parse_safetensors_header(header, f"{where}: {min(weights)} of {place}")
    check_bytes(config.shape, config.precision, size, where)
    return ModelFacts(
        revision=revision, precision=config.precision, bytes=size, shape=config.shape, quant_method=config.quant_method
    )
