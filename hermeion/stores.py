"""Weights that lie in a bucket or in a folder of the host: what is asked about them, and how the answers are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from hermeion.answers import Answer, Question, judge_tool, question
from hermeion.checksums import COMMAND, NAME, parse_sums
from hermeion.errors import SourceError
from hermeion.inventory import HostSpec
from hermeion.s3 import (
    Request,
    S3Access,
    error_code,
    is_bucket,
    listing_request,
    object_request,
    parse_listing,
    store_url,
)

KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class Stored(NamedTuple):
    """A file of a bucket or folder: bytes, and SHA-256 in hexadecimal."""

    size: int
    sha256: str


def store_question(
    spec: HostSpec,
    source: str,
    *,
    file: str,
    ca: str | None,
    access: S3Access | None,
    host: str = "",
    model: bool = False,
) -> str:
    """A script that asks for checksums, names and sizes.

    Args:
        host: Who asks: a folder of one host is not that of another, so the text differs too. A bucket is the same.
        file: The GGUF file that is wanted, or its pattern; empty: safetensors.
        access: Who asks a bucket; ``None``: anybody.
        model: Whether the model's own configuration, or the header of ``file``, is asked for too.
    """
    if not is_bucket(source):
        names: tuple[Question, ...] = ("sums", "folder") if model else ("sums",)
        values = {"FOLDER": source, "FILE": file, "ASKED_BY": host}
        return question(names, values, ca=ca, token=None)
    requests: dict[str, Request] = {
        "SUMS": object_request(spec, source, NAME, access),
        "LISTING": listing_request(spec, source, file.rpartition("/")[0], access),
    }
    if model and file:
        requests["HEADER"] = object_request(spec, source, file, access)
    elif model:
        requests["CONFIG"] = object_request(spec, source, "config.json", access)
    values = {f"{name}_URL": request.url for name, request in requests.items()} | {
        f"{name}_HEADERS": "\n".join(request.headers) for name, request in requests.items()
    }
    return question(("bucket",), values, ca=ca, token=None)


def read_store(
    host: str,
    subject: str,
    spec: HostSpec,
    source: str,
    answers: Mapping[str, Answer],
    wanted: Sequence[str],
    unwanted: Sequence[str] = (),
) -> dict[str, Stored]:
    """The wanted files by name: each is there, and has a checksum.

    Args:
        subject: Who asks, for messages: ``gpu-1: hermes``.
        wanted: Patterns of names.
        unwanted: Patterns of names that are not wanted in spite of these.

    Raises:
        SourceError: The store refuses, lacks or contradicts something, or cannot be reached.
    """
    bucket = is_bucket(source)
    if bucket:
        judge_tool(host, answers)
    what = f"{subject}: {_place(source)}"
    needed = ("sums", "listing" if bucket else "sizes")
    if missing := set(needed) - set(answers):
        raise SourceError(
            f"{what}: asking was cut short (no {', '.join(sorted(missing))}). Nothing was changed; run again."
        )
    for name in needed:
        _judge_bucket(what, spec, answers[name]) if bucket else _judge_folder(what, answers[name])
    try:
        sums = parse_sums(answers["sums"].body)
    except ValueError as error:
        raise SourceError(f"{what}: {error}. Make it anew where the files are: {COMMAND}") from error
    sizes = _sizes(what, source, answers)

    def want(name: str) -> bool:
        return any(fnmatchcase(name, p) for p in wanted) and not any(fnmatchcase(name, p) for p in unwanted)

    if absent := sorted(name for name in sums if want(name) and name not in sizes):
        raise SourceError(f"{what}: {NAME} names {_some(absent)} not there. Copy what is missing, then run again.")
    if unknown := sorted(name for name in sizes if want(name) and name not in sums):
        raise SourceError(
            f"{what}: {_some(unknown)} there, but not in {NAME}, so nobody could tell a damaged file. Make it anew "
            f"where the files are: {COMMAND}"
        )
    return {name: Stored(sizes[name], digest) for name, digest in sums.items() if want(name)}


def _place(source: str) -> str:
    return f"the bucket {source}" if is_bucket(source) else f"the folder {source}"


def _some(names: Sequence[str]) -> str:
    """Names for a message with their verb."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}, which {'is' if len(names) == 1 else 'are'}"


def _sizes(what: str, source: str, answers: Mapping[str, Answer]) -> dict[str, int]:
    if not is_bucket(source):
        rows = (line.split(" ", 1) for line in answers["sizes"].body.splitlines() if " " in line)
        return {name: int(size) for size, name in rows}
    try:
        listing = parse_listing(answers["listing"].body, source)
    except ValueError as error:
        raise SourceError(
            f"{what}: what was answered is not an S3 listing ({error}). Check hermes_mirrors/s3/endpoint; look for a "
            "proxy or a login page in between."
        ) from error
    if listing.more:
        raise SourceError(f"{what} holds more than 1000 files in one folder. Give the model a prefix of its own.")
    return listing.sizes


def _judge_folder(what: str, answer: Answer) -> None:
    if answer.status == 200:
        return
    if answer.status == 404 and answer.error == "no folder":
        raise SourceError(
            f"{what} is not there on the host. Mount it or copy the model there first, or correct source in "
            "hermes_catalog."
        )
    if answer.status == 404:
        raise SourceError(
            f"{what} has no {NAME}, so nobody could tell a damaged file. Make it in the folder: {COMMAND}"
        )
    raise SourceError(f"{what}: {NAME} cannot be read ({answer.error}). Check its owner and mode.")


def _judge_bucket(what: str, spec: HostSpec, answer: Answer) -> None:
    if answer.status == 200:
        return
    store, code = store_url(spec), error_code(answer.body)
    said = f"{answer.status} {code}".strip()
    if not answer.status:
        raise SourceError(
            f"{what}: the store {store} cannot be reached from the host ({answer.error}). Check the network and "
            "hermes_mirrors/s3, hermes_mirrors/ca."
        )
    if code == "RequestTimeTooSkewed":
        raise SourceError(
            f"{what}: the store {store} answers {said}: the clock of this machine, which signs, and the store's are "
            "more than 15 minutes apart. Correct the clock."
        )
    if code == "AuthorizationHeaderMalformed" or answer.status == 301:
        raise SourceError(
            f"{what}: the store {store} answers {said}: the bucket is in another region. Give hermes_mirrors/s3 with "
            "its endpoint and region."
        )
    if answer.status in {401, 403}:
        raise SourceError(
            f"{what}: the store {store} refuses ({said}). Check {KEYS} in the environment of this machine (export "
            "them for a bucket that is not public), and that the key may read and list the bucket."
        )
    if code == "NoSuchBucket":
        raise SourceError(f"{what}: the store {store} has no such bucket ({said}). Correct source in hermes_catalog.")
    if answer.status == 404:
        raise SourceError(
            f"{what} has no {NAME} ({said}), so nobody could tell a damaged file. Check source in hermes_catalog; or "
            f"make it where the files are and upload it beside them: {COMMAND}"
        )
    raise SourceError(f"{what}: the store {store} answers {said}. Nothing was changed; try again later.")
