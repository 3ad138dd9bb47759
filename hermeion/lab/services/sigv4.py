"""AWS Signature Version 4, the checking side (docs.aws.amazon.com: "Create a signed AWS API request")."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from .catalog import KeyPair

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>\d{8}/[^/]+/[^/]+/aws4_request),\s*"
    r"SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_SKEW_SECONDS = 900  # as S3 itself
_EMPTY = hashlib.sha256(b"").hexdigest()


def signature(
    keys: KeyPair, scope: str, method: str, path: str, query: str, headers: Mapping[str, str], signed: str
) -> str:
    """The signature of a request without a body, hexadecimal.

    Args:
        scope: Date, region, service and ``aws4_request``.
        path: As it is in the request line, query apart.
        headers: With names in lower case; those that are signed must be there.
        signed: Names of the signed headers, in lower case, with semicolons between them.
    """
    lines = [method, quote(unquote(path), safe="/-_.~"), _canonical_query(query)]
    lines += [f"{name}:{' '.join(headers[name].split())}" for name in signed.split(";")]
    lines += ["", signed, headers.get("x-amz-content-sha256", _EMPTY)]
    request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{request}"
    key = b"AWS4" + keys.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def check(
    keys: KeyPair | None, method: str, path: str, query: str, headers: Mapping[str, str], now: datetime | None = None
) -> str:
    """The empty string, or S3's code of what is wrong with the request's signature.

    Args:
        headers: With names in lower case.
    """
    match = _HEADER.fullmatch(headers.get("authorization", ""))
    if match is None:
        return "AccessDenied"
    if keys is None or match["key"] != keys.access_key:
        return "InvalidAccessKeyId"
    signed = match["headers"]
    if "x-amz-date" not in headers or any(name not in headers for name in signed.split(";")):
        return "AccessDenied"
    try:
        sent = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "AccessDenied"
    if abs(((now or datetime.now(UTC)) - sent).total_seconds()) > _SKEW_SECONDS:
        return "RequestTimeTooSkewed"
    wanted = signature(keys, match["scope"], method, path, query, headers, signed)
    return "" if hmac.compare_digest(wanted, match["signature"]) else "SignatureDoesNotMatch"


def _canonical_query(query: str) -> str:
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    return "&".join("=".join(both) for both in sorted((_encode(name), _encode(value)) for name, value in pairs))


def _encode(text: str) -> str:
    return quote(unquote(text), safe="-_.~")
