"""The part of the Hugging Face Hub's HTTP contract that ``huggingface_hub`` 2.4 uses to read models."""

from __future__ import annotations

import re

from .answers import Answer, FileAnswer, json_answer
from .catalog import Catalog, HubModel

_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<revision>[^/]+)/?)?")
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


def answer(catalog: Catalog, path: str) -> Answer:
    """Answer a GET or HEAD; unknown paths are 404, which clients accept."""
    match = _API.fullmatch(path) or _RESOLVE.fullmatch(path)
    if match is None:
        return json_answer(404, {"error": "Not found"})
    found = match.groupdict()
    models = catalog.models(found["repo"])
    if not models:
        # The real Hub says 401 to anonymous clients, since a missing repository may be a private one.
        return json_answer(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
    model = _pick(models, found["revision"] or "main")
    if model is None:
        return json_answer(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
    if "path" in found:
        return _resolve(model, found["path"])
    if found["what"] == "tree":
        return json_answer(200, [file.listing() for file in model.files.values()])
    siblings = [{"rfilename": name} for name in model.files]
    return json_answer(200, {"id": model.repo, "modelId": model.repo, "sha": model.revision, "siblings": siblings})


def _pick(models: list[HubModel], revision: str) -> HubModel | None:
    if revision == "main":
        return models[0]
    return next((model for model in models if model.revision == revision), None)


def _resolve(model: HubModel, path: str) -> Answer:
    commit = {"X-Repo-Commit": model.revision}
    file = model.files.get(path)
    if file is None:
        return json_answer(404, {"error": "Entry not found"}, commit | {"X-Error-Code": "EntryNotFound"})
    headers = commit | {"ETag": f'"{file.etag}"', "Content-Type": "application/octet-stream"}
    if file.sha256:
        headers |= {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
    return FileAnswer(200, headers, path=file.source)
