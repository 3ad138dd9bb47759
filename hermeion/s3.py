"""An S3-compatible store: where things are in it, requests signed for it, and what it answers.

Requests are signed where the key is, with AWS Signature Version 4 in headers ("Authenticating Requests: Using the
Authorization Header" in the Amazon S3 API reference): a host asks with ``curl`` or ``wget`` of any age and is not given
the key. A signature holds for 15 minutes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as Xml

from pydantic import Field

from hermeion.inventory import HostSpec
from hermeion.records import Record

EMPTY = hashlib.sha256(b"").hexdigest()
REMOTE = "store"
"""Name of the store in rclone's configuration."""


class S3Access(Record):
    """Who asks, and when.

    Attributes:
        key: Access key id: AWS_ACCESS_KEY_ID.
        secret: AWS_SECRET_ACCESS_KEY.
        session: AWS_SESSION_TOKEN of temporary credentials, or ``None``.
        date: When the requests are signed, UTC: ``20260922T101500Z``. The same for all hosts of a run, so that the same
            question is the same text.
    """

    key: str
    secret: str = Field(repr=False)
    session: str | None = Field(default=None, repr=False)
    date: str = Field(pattern=r"^\d{8}T\d{6}Z$")


class Place(NamedTuple):
    """A source ``s3://bucket/prefix``. ``prefix``: empty, or with a final slash."""

    bucket: str
    prefix: str


class Request(NamedTuple):
    """What is asked: ``headers`` are lines ``name: value``, none if anonymous."""

    url: str
    headers: tuple[str, ...]


def is_bucket(source: str | None) -> bool:
    """Whether a source is a bucket, not a folder on the host."""
    return source is not None and source.startswith("s3://")


def parse_place(source: str) -> Place:
    """Bucket and prefix of ``s3://bucket/prefix``."""
    bucket, _, prefix = source.removeprefix("s3://").strip("/").partition("/")
    return Place(bucket, f"{prefix}/" if prefix else "")


def store_url(spec: HostSpec) -> str:
    """The store, without a final slash and without the port that its scheme has anyway: programs leave that out."""
    store = spec.hermes_mirrors.s3
    url = (store.endpoint if store else "https://s3.us-east-1.amazonaws.com").rstrip("/")
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.removesuffix(':443' if scheme == 'https' else ':80')}{slash}{path}"


def _region(spec: HostSpec) -> str:
    return spec.hermes_mirrors.s3.region if spec.hermes_mirrors.s3 else "us-east-1"


def _quote(text: str, safe: str = "-_.~") -> str:
    return quote(text, safe=safe)


def object_request(spec: HostSpec, source: str, name: str, access: S3Access | None) -> Request:
    """Ask for a file below the source."""
    place = parse_place(source)
    url = f"{store_url(spec)}/{place.bucket}/{_quote(place.prefix + name, '/-_.~')}"
    return Request(url, sign(url, _region(spec), access))


def listing_request(spec: HostSpec, source: str, folder: str, access: S3Access | None) -> Request:
    """Ask for names and sizes of the files in a folder of the source (ListObjectsV2); ``folder`` may be empty.

    A page has up to 1000 names, and one page is asked for: a folder with a model has a few hundred files.
    """
    place = parse_place(source)
    prefix = place.prefix + (f"{folder}/" if folder else "")
    query = f"delimiter=%2F&list-type=2&max-keys=1000&prefix={_quote(prefix)}"
    url = f"{store_url(spec)}/{place.bucket}?{query}"
    return Request(url, sign(url, _region(spec), access))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(url: str, region: str, access: S3Access | None) -> tuple[str, ...]:
    """Headers of a GET request for ``url``, whose query is sorted and encoded; none for anonymous access."""
    if access is None:
        return ()
    parts = urlsplit(url)
    headers = {"host": parts.netloc, "x-amz-content-sha256": EMPTY, "x-amz-date": access.date}
    if access.session:
        headers["x-amz-security-token"] = access.session
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"GET\n{parts.path or '/'}\n{parts.query}\n{lines}\n{names}\n{EMPTY}"
    scope = f"{access.date[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{access.date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{access.secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    signature = _hmac(key, text).hex()
    authorization = f"AWS4-HMAC-SHA256 Credential={access.key}/{scope},SignedHeaders={names},Signature={signature}"
    sent = {"Authorization": authorization} | {name: value for name, value in headers.items() if name != "host"}
    return tuple(f"{name}: {value}" for name, value in sent.items())


class Listing(NamedTuple):
    """A page of names. ``sizes``: bytes by name below the source; ``more``: whether there are other pages."""

    sizes: dict[str, int]
    more: bool


def parse_listing(text: str, source: str) -> Listing:
    """What ListObjectsV2 answered.

    Raises:
        ValueError: It is something else.
    """
    try:
        root = Xml.fromstring(text)  # noqa: S314  # expat itself bounds what entities may grow to since 2.4.1
    except Xml.ParseError as error:
        raise ValueError(f"no listing: {error}") from error
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise ValueError(f"no listing: <{root.tag}>")
    prefix = parse_place(source).prefix
    sizes = {
        str(row.findtext("{*}Key")).removeprefix(prefix): int(str(row.findtext("{*}Size")))
        for row in root.findall("{*}Contents")
    }
    return Listing(sizes, root.findtext("{*}IsTruncated") == "true")


def error_code(text: str) -> str:
    """The store's own word for what is wrong, like ``SignatureDoesNotMatch``; empty if it says none."""
    return text.partition("<Code>")[2].partition("</Code>")[0].strip()


def rclone_config(spec: HostSpec, access: S3Access | None) -> str:
    """Configuration with which rclone reads the store, as ``store:bucket/prefix``. It holds the key: mode 0600."""
    ours = spec.hermes_mirrors.s3
    rows = {
        "type": "s3",
        "provider": "Other" if ours else "AWS",
        "endpoint": store_url(spec) if ours else "",
        "region": _region(spec),
        "force_path_style": "true",
        "access_key_id": access.key if access else "",
        "secret_access_key": access.secret if access else "",
        "session_token": access.session or "" if access else "",
    }
    return f"[{REMOTE}]\n" + "".join(f"{name} = {value}\n" for name, value in rows.items() if value)
