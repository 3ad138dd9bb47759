# Lays out what Ollama reads of hermes: a link to the weights, and a manifest for each name.
set -eu
umask 022
cache=/var/cache/hermeion-hermes weights=/srv/models/hub/models--NousResearch--Hermes-3-Llama-3.1-8B-GGUF/snapshots/0123456789abcdef0123456789abcdef01234567/Hermes-3-Llama-3.1-8B.Q8_0.gguf seen=/srv/models/hub/models--NousResearch--Hermes-3-Llama-3.1-8B-GGUF/snapshots/0123456789abcdef0123456789abcdef01234567/Hermes-3-Llama-3.1-8B.Q8_0.gguf
[ -f "$weights" ] || { echo "there is no file $weights" >&2; exit 1; }
# The Hub's cache names a large file by its SHA-256, which the link in the snapshot leads to. Any other file gets a name
# that changes with it.
file=$weights digest=
while [ -L "$file" ] && [ -z "$digest" ]; do
  link=$(readlink "$file")
  case $link in /*) file=$link ;; *) file=${file%/*}/$link ;; esac
  digest=${link##*/}
  case $digest in *[!0-9a-f]*) digest= ;; esac
  [ ${#digest} = 64 ] || digest=
done
[ -n "$digest" ] || digest=$(stat -L -c '%n %s %Y' "$weights" | sha256sum | cut -c1-64)
size=$(stat -L -c %s "$weights")
new=$cache/models.new
rm -rf "$new"
mkdir -p "$new/blobs" "$new/manifests" "$new/manifests-v2"
ln -s "$seen" "$new/blobs/sha256-$digest"
printf %s '{"model_format": "gguf", "model_family": "", "model_families": [], "model_type": "", "file_type": "Q8_0", "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "capabilities": ["completion", "tools"]}' > "$new/blobs/sha256-ebb922c0088a3c70aa2bf8d1d5414bac7b561422d8b65f710b970da459fb2d58"
printf %s '{"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.1, "temperature": 0.8}' > "$new/blobs/sha256-c9db5237dc86e9c7dffb9ca437aae842973ef5e310f15601e6ccf2b7bcda69e9"
manifest=$(printf %s '{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:ebb922c0088a3c70aa2bf8d1d5414bac7b561422d8b65f710b970da459fb2d58", "size": 232}, "layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:@DIGEST@", "size": @SIZE@}, {"mediaType": "application/vnd.ollama.image.params", "digest": "sha256:c9db5237dc86e9c7dffb9ca437aae842973ef5e310f15601e6ccf2b7bcda69e9", "size": 83}]}' | sed "s/@DIGEST@/$digest/; s/@SIZE@/$size/")
for name in registry.ollama.ai/library/hermes/latest registry.ollama.ai/NousResearch/Hermes-3-Llama-3.1-8B-GGUF/latest; do
  mkdir -p "$new/manifests/${name%/*}"
  printf %s "$manifest" > "$new/manifests/$name"
done
# The links themselves change hands, not the weights behind them.
[ "$(id -u)" != 0 ] || chown -Rh "$(stat -c %u:%g "$cache")" "$new"
rm -rf "$cache/models"
mv "$new" "$cache/models"
