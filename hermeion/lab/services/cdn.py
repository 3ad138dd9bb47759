"""The other origin: where a Hub's files really lie, behind addresses that are signed and need no other credentials."""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import parse_qs, quote

from . import hub
from .answers import Answer, json_answer
from .catalog import Catalog

_SECONDS = 3600  # how long an address is good, as the Hub's are


def sign(secret: bytes, path: str, expires: int) -> str:
    """The signature in the address of ``path``, hexadecimal."""
    return hmac.new(secret, f"{expires}\n{path}".encode(), hashlib.sha256).hexdigest()


def redirect(answer: Answer, secret: bytes, origin: str, path: str) -> Answer:
    """A 302 from the Hub's file at ``path`` to ``origin``, with what clients want to know before they follow."""
    expires = int(time.time()) + _SECONDS
    location = f"{origin}{quote(path)}?Expires={expires}&Signature={sign(secret, path, expires)}"
    wanted = {name: answer.headers[name] for name in ("X-Repo-Commit", "ETag", "X-Xet-Hash") if name in answer.headers}
    linked = {"X-Linked-ETag": answer.headers["ETag"], "X-Linked-Size": str(answer.size)}
    return Answer(302, wanted | linked | {"Location": location})


def answer(catalog: Catalog, secret: bytes, path: str, query: str, *, authorized: bool) -> Answer:
    """A file for who has its address.

    As the storage behind the Hub does, it refuses (400) who brings credentials as well: they are not its business.
    """
    if authorized:
        return json_answer(400, {"error": "InvalidArgument: only one auth mechanism allowed"})
    given = parse_qs(query)
    try:
        expires, signature = int(given["Expires"][0]), given["Signature"][0]
    except (KeyError, ValueError):
        return json_answer(403, {"error": "AccessDenied: no signature"})
    if expires < time.time() or not hmac.compare_digest(signature, sign(secret, path, expires)):
        return json_answer(403, {"error": "AccessDenied: the address is not valid (any more)"})
    return hub.answer(catalog, path)
