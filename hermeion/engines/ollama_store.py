"""The folder that Ollama reads its models from, laid out before it starts: a link to the weights, a manifest a name.

Not by ``/api/create``: that sets the time of the file it is given (``touchLayer`` in ``manifest/layer.go``), which is
nobody's but the owner's to do, and the weights are root's and mounted read-only. The layout is the one that every
release writes or still reads (``manifest/{manifest,paths}.go``, ``types/model/{name,config}.go`` of Ollama 0.33).
A blob's content is never compared with its name.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex

from hermeion.engines.places import Places, model_file
from hermeion.plans import Service

MODEL = re.compile(r"(?:(?P<owner>\w[\w-]{0,79})/)?(?P<model>\w[\w.-]{0,79})(?::(?P<tag>\w[\w.-]{0,79}))?", re.ASCII)
"""``types/model/name.go``, without a registry in front."""

HOST = "registry.ollama.ai"
OWNER = "library"
"""Parts of a name that nobody has to say."""


def model_path(name: str) -> str | None:
    """Folder and file of a name's manifest, ``registry.ollama.ai/library/hermes/latest``; ``None``: it is no name."""
    match = MODEL.fullmatch(name)
    if match is None:
        return None
    tag = match["tag"] or "latest"
    # Such tags mean where a model runs: Ollama's own service, or here (server/model_ref.go).
    if tag in {"cloud", "local"} or tag.endswith("-cloud"):
        return None
    return f"{HOST}/{match['owner'] or OWNER}/{match['model']}/{tag}"


def listed_name(name: str) -> str:
    """A served name as ``/api/tags`` and ``/v1/models`` list it: with its tag."""
    return name if ":" in name else f"{name}:latest"


def _blob(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _layer(kind: str, content: str) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{_blob(content)}", "size": len(content.encode())}


def _texts(service: Service) -> dict[str, str]:
    """Small blobs by their media type."""
    about = {
        "model_format": "gguf",
        "model_family": "",
        "model_families": [],
        "model_type": "",
        "file_type": service.precision.upper(),
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": []},
        # Of two templates in one file Ollama searches the first for tools; llama-server takes the right one.
        "capabilities": service.config["capabilities"],
    }
    return {
        "application/vnd.docker.container.image.v1+json": json.dumps(about),
        "application/vnd.ollama.image.params": json.dumps(service.config["parameters"]),
    }


def store_program(service: Service, places: Places) -> str:
    """POSIX sh that lays out the store, the same whenever it is run. For root on the host, or for the engine's user."""
    seen = str(model_file(places, service))
    weights = seen
    if service.image:
        inside = places.local if service.path else places.hub
        weights = (service.path or f"{service.cache}/hub") + seen.removeprefix(inside)
    # For root on the host that is where the container's own folder lies; else what the process itself sees.
    cache = service.compile_cache if service.image else places.cache
    texts = _texts(service)
    config, parameters = (_layer(kind, content) for kind, content in texts.items())
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": config,
            "layers": [
                {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:@DIGEST@", "size": "@SIZE@"},
                parameters,
            ],
        }
    ).replace('"@SIZE@"', "@SIZE@")
    blobs = "".join(
        f'printf %s {shlex.quote(content)} > "$new/blobs/sha256-{_blob(content)}"\n' for content in texts.values()
    )
    names = " ".join(shlex.quote(str(model_path(name))) for name in service.served_names)
    return f"""# Lays out what Ollama reads of {service.name}: a link to the weights, and a manifest for each name.
set -eu
umask 022
cache={shlex.quote(cache)} weights={shlex.quote(weights)} seen={shlex.quote(seen)}
[ -f "$weights" ] || {{ echo "there is no file $weights" >&2; exit 1; }}
# The Hub's cache names a large file by its SHA-256, which the link in the snapshot leads to. Any other file gets a name
# that changes with it.
file=$weights digest=
while [ -L "$file" ] && [ -z "$digest" ]; do
  link=$(readlink "$file")
  case $link in /*) file=$link ;; *) file=${{file%/*}}/$link ;; esac
  digest=${{link##*/}}
  case $digest in *[!0-9a-f]*) digest= ;; esac
  [ ${{#digest}} = 64 ] || digest=
done
[ -n "$digest" ] || digest=$(stat -L -c '%n %s %Y' "$weights" | sha256sum | cut -c1-64)
size=$(stat -L -c %s "$weights")
new=$cache/models.new
rm -rf "$new"
mkdir -p "$new/blobs" "$new/manifests" "$new/manifests-v2"
ln -s "$seen" "$new/blobs/sha256-$digest"
{blobs}manifest=$(printf %s {shlex.quote(manifest)} | sed "s/@DIGEST@/$digest/; s/@SIZE@/$size/")
for name in {names}; do
  mkdir -p "$new/manifests/${{name%/*}}"
  printf %s "$manifest" > "$new/manifests/$name"
done
# The links themselves change hands, not the weights behind them.
[ "$(id -u)" != 0 ] || chown -Rh "$(stat -c %u:%g "$cache")" "$new"
rm -rf "$cache/models"
mv "$new" "$cache/models"
"""
