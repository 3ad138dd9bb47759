"""The part of the Hugging Face Hub's HTTP contract that ``huggingface_hub`` 2.4 uses to read models."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from urllib.parse import parse_qs, quote, urlencode

from .answers import Answer, FileAnswer, json_answer
from .catalog import Catalog, HubModel
from .knobs import Settings, TokenKnob

_API = re.compile(
    r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>revision|tree|xet-read-token)/(?P<revision>[^/]+)/?)?"
)
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_XET_SECONDS = 3600


def answer(catalog: Catalog, path: str, query: str = "", settings: Settings | None = None, origin: str = "") -> Answer:
    """Answer a GET or HEAD; unknown paths are 404, which clients accept.

    Args:
        origin: Of the server, for addresses that must be whole: ``https://hub:8443``.
    """
    settings = settings or Settings()
    match = _API.fullmatch(path) or _RESOLVE.fullmatch(path)
    if match is None:
        return json_answer(404, {"error": "Not found"})
    found = match.groupdict()
    models = catalog.models(found["repo"])
    if not models:
        # The real Hub says 401 to anonymous clients, since a missing repository may be a private one.
        return json_answer(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
    main = settings.branches.get(found["repo"], models[0].revision)
    wanted = main if found["revision"] in (None, "main") else found["revision"]
    model = next((model for model in models if model.revision == wanted), None)
    if model is None:
        return json_answer(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
    if "path" in found:
        return _resolve(model, found["path"], origin)
    if found["what"] == "tree":
        return _tree(model, path, query, settings.page_size, origin)
    if found["what"] == "xet-read-token":
        return _xet_token(model)
    siblings = [{"rfilename": name} for name in model.files]
    return json_answer(200, {"id": model.repo, "modelId": model.repo, "sha": model.revision, "siblings": siblings})


def refuse(knob: TokenKnob, authorization: str | None) -> Answer | None:
    """What a gated repository says to these credentials; None: they are the right ones."""
    if authorization is None:
        said = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this repository is restricted."}
        return json_answer(401, {"error": said["X-Error-Message"]}, said)
    token = authorization.removeprefix("Bearer ")
    if hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), knob.sha256.lower()):
        return None
    said = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Your account is not in the authorized list."}
    return json_answer(403, {"error": said["X-Error-Message"]}, said)


def _tree(model: HubModel, path: str, query: str, page_size: int | None, origin: str) -> Answer:
    entries = [file.listing() for file in model.files.values()]
    asked = {key: values[0] for key, values in parse_qs(query).items()}
    first = int(asked.pop("cursor", "0")) if asked.get("cursor", "0").isdigit() else 0
    end = first + (page_size or len(entries))
    headers = {}
    if end < len(entries):
        headers["Link"] = f'<{origin}{quote(path)}?{urlencode(asked | {"cursor": str(end)})}>; rel="next"'
    return json_answer(200, entries[first:end], headers)


def _xet_token(model: HubModel) -> Answer:
    if model.cas is None:
        return json_answer(404, {"error": "Not in the Xet storage"})
    expires = int(time.time()) + _XET_SECONDS
    headers = {
        "X-Xet-Cas-Url": model.cas, "X-Xet-Access-Token": "lab", "X-Xet-Token-Expiration": str(expires)
    }  # fmt: skip
    return json_answer(200, {"casUrl": model.cas, "accessToken": "lab", "exp": expires}, headers)


def _resolve(model: HubModel, path: str, origin: str) -> Answer:
    commit = {"X-Repo-Commit": model.revision}
    file = model.files.get(path)
    if file is None:
        return json_answer(404, {"error": "Entry not found"}, commit | {"X-Error-Code": "EntryNotFound"})
    headers = commit | {"ETag": f'"{file.etag}"', "Content-Type": "application/octet-stream"}
    if file.hashes.sha256:
        headers |= {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
    if file.xet:
        token = f"{origin}/api/models/{model.repo}/xet-read-token/{model.revision}"
        headers |= {"X-Xet-Hash": file.xet, "Link": f'<{token}>; rel="xet-auth"'}
    return FileAnswer(200, headers, path=file.source)
