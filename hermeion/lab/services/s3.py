"""The part of S3's HTTP contract that reads a bucket, path style: ``/s3/bucket/key`` (docs.aws.amazon.com/AmazonS3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

from . import sigv4
from .answers import Answer, FileAnswer
from .catalog import Catalog

PREFIX = "/s3/"
_MOST = 1000  # keys on a page, as S3 itself
_MESSAGES = {
    "AccessDenied": "Access Denied",
    "InvalidAccessKeyId": "The AWS Access Key Id you provided does not exist in our records.",
    "SignatureDoesNotMatch": "The request signature we calculated does not match the signature you provided.",
    "RequestTimeTooSkewed": "The difference between the request time and the current time is too large.",
    "NoSuchBucket": "The specified bucket does not exist",
    "NoSuchKey": "The specified key does not exist.",
}
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"  # a name, not an address that is asked


def answer(catalog: Catalog, method: str, path: str, query: str, headers: Mapping[str, str]) -> Answer:
    """Answer a GET or HEAD.

    Args:
        path: As it is in the request line: its encoding is signed.
        headers: With names in lower case.
    """
    buckets, keys = catalog.buckets()
    refusal = sigv4.check(keys, method, path, query, headers)
    if refusal:
        return _error(403, refusal)
    name, _, key = unquote(path.removeprefix(PREFIX)).partition("/")
    asked = {key: values[0] for key, values in parse_qs(query, keep_blank_values=True).items()}
    if not name:
        rows = "".join(f"<Bucket><Name>{escape(one)}</Name></Bucket>" for one in sorted(buckets))
        return _xml("ListAllMyBucketsResult", f"<Buckets>{rows}</Buckets>")
    root = buckets.get(name)
    if root is None:
        return _error(404, "NoSuchBucket")
    if key:
        return _object(root, key)
    if method == "HEAD":
        return Answer(200)
    if "location" in asked:
        return _xml("LocationConstraint", "")
    return _list(root, name, asked)


def _object(root: Path, key: str) -> Answer:
    path = (root / key).resolve()
    if key.endswith("/") or not path.is_file() or not path.is_relative_to(root.resolve()):
        return _error(404, "NoSuchKey")
    changed = formatdate(path.stat().st_mtime, usegmt=True)
    headers = {"Content-Type": "application/octet-stream", "ETag": _etag(path), "Last-Modified": changed}
    return FileAnswer(200, headers, path=path)


def _etag(path: Path) -> str:
    """As of an object that was uploaded in parts: no client takes it for the MD5 of the content."""
    status = path.stat()
    return f'"{status.st_size:016x}{status.st_mtime_ns:016x}-1"'


def _list(root: Path, bucket: str, asked: Mapping[str, str]) -> Answer:
    """ListObjectsV2, and the first version for clients that ask for no other."""
    second = asked.get("list-type") == "2"
    prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
    after = asked.get("continuation-token", asked.get("start-after", "")) if second else asked.get("marker", "")
    most = min(int(asked.get("max-keys") or _MOST), _MOST)

    def text(value: str) -> str:
        return escape(quote(value, safe="/") if asked.get("encoding-type") == "url" else value)

    entries: dict[str, Path | None] = {}  # None: a common prefix
    for path in root.rglob("*"):
        key = path.relative_to(root).as_posix()
        if path.is_file() and key.startswith(prefix):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            entries[prefix + head + cut if cut else key] = None if cut else path
    left = sorted((key for key in entries if key > after), key=str.encode)
    page, more = left[:most], len(left) > most
    rows = []
    for key in page:
        found = entries[key]
        if found is None:
            rows.append(f"<CommonPrefixes><Prefix>{text(key)}</Prefix></CommonPrefixes>")
            continue
        status = found.stat()
        changed = datetime.fromtimestamp(status.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        rows.append(
            f"<Contents><Key>{text(key)}</Key><LastModified>{changed}</LastModified><ETag>{escape(_etag(found))}</ETag>"
            f"<Size>{status.st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    head = f"<Name>{escape(bucket)}</Name><Prefix>{text(prefix)}</Prefix><MaxKeys>{most}</MaxKeys>"
    head += f"<Delimiter>{text(delimiter)}</Delimiter>" if delimiter else ""
    head += "<EncodingType>url</EncodingType>" if asked.get("encoding-type") == "url" else ""
    head += f"<KeyCount>{len(page)}</KeyCount>" if second else f"<Marker>{text(after)}</Marker>"
    head += f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    if more:
        tag = "NextContinuationToken" if second else "NextMarker"
        head += f"<{tag}>{escape(page[-1]) if second else text(page[-1])}</{tag}>"
    return _xml("ListBucketResult", head + "".join(rows))


def _xml(tag: str, inside: str) -> Answer:
    body = f'{_XML}<{tag} xmlns="{_NAMESPACE}">{inside}</{tag}>'
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


def _error(status: int, code: str) -> Answer:
    said = f"<Error><Code>{code}</Code><Message>{_MESSAGES[code]}</Message></Error>"
    return Answer(status, {"Content-Type": "application/xml"}, f"{_XML}{said}".encode())
