"""The client side of the OCI distribution API, as far as publishing an image needs it."""

from __future__ import annotations

import hashlib

import httpx

from hermeion.errors import LabError

from .oci import MANIFEST, Compressed, Layer


class Registry:
    """The part of the OCI distribution API that publishing an image needs."""

    def __init__(self, client: httpx.Client, repository: str) -> None:
        self._client = client
        self._base = f"/v2/{repository}"

    def has_manifest(self, reference: str) -> bool:
        """Whether a manifest with this tag or digest is there."""
        answer = self._client.head(f"{self._base}/manifests/{reference}", headers={"Accept": MANIFEST})
        return answer.status_code == httpx.codes.OK

    def push_layer(self, layer: Compressed) -> Layer:
        """Upload a layer while it is being made; its digest is known only at the end.

        Raises:
            LabError: The registry refuses it.
        """
        where = self._expect(self._client.post(f"{self._base}/blobs/uploads/"), 202, "start of an upload")
        headers = {"Content-Type": "application/octet-stream"}
        sent = self._client.patch(where.headers["Location"], content=iter(layer), headers=headers)
        done = layer.layer()
        self._finish(self._expect(sent, 202, "layer"), done.digest)
        return done

    def push_blob(self, data: bytes) -> str:
        """Upload a small blob; returns its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        where = self._expect(self._client.post(f"{self._base}/blobs/uploads/"), 202, "start of an upload")
        self._finish(self._expect(self._client.patch(where.headers["Location"], content=data), 202, "blob"), digest)
        return digest

    def push_manifest(self, manifest: bytes, tag: str) -> str:
        """Upload a manifest under a tag; returns its digest."""
        answer = self._client.put(f"{self._base}/manifests/{tag}", content=manifest, headers={"Content-Type": MANIFEST})
        self._expect(answer, 201, "manifest")
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    def _finish(self, upload: httpx.Response, digest: str) -> None:
        url = httpx.URL(upload.headers["Location"]).copy_merge_params({"digest": digest})
        self._expect(self._client.put(url), 201, "end of an upload")

    @staticmethod
    def _expect(answer: httpx.Response, status: int, what: str) -> httpx.Response:
        if answer.status_code != status:
            message = (
                f"the lab's registry refuses the {what}: {answer.status_code} {answer.text[:300]}. Is there room "
                "in the cache? Try again with: hermeion lab down; hermeion lab up"
            )
            raise LabError(message)
        return answer
