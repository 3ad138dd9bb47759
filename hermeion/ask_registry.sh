# Asks a registry for an image. Variables REGISTRY (URL of the manifests) and REFERENCE; ask.sh stands above.
access=
manifest() { # $1 = tag or digest; follows a registry that wants an anonymous token
  fetch "$access" "$accept" "$REGISTRY/$1"
  challenge=$(tr -d '\r' < "$dir/head" | sed -n 's/^ *[Ww][Ww][Ww]-[Aa]uthenticate: *[Bb]earer //p' | tail -n 1)
  if [ "$status" = 401 ] && [ -n "$challenge" ]; then
    field() { printf '%s' "$challenge" | tr ',' '\n' | sed -n "s/^ *$1=\"\(.*\)\"/\1/p"; }
    fetch "" application/json "$(field realm)?service=$(field service)&scope=$(field scope)"
    bearer=$(tr ',{' '\n\n' < "$dir/body" | sed -n 's/^ *"\(access_\)\{0,1\}token": *"\([^"]*\)".*/\2/p' | head -n 1)
    cp "$dir/curlrc" "$dir/curlrc.registry"; cp "$dir/wgetrc" "$dir/wgetrc.registry"
    printf 'header = "Authorization: Bearer %s"\n' "$bearer" >> "$dir/curlrc.registry"
    printf 'header = Authorization: Bearer %s\n' "$bearer" >> "$dir/wgetrc.registry"
    access=.registry
    fetch "$access" "$accept" "$REGISTRY/$1"
  fi
}
manifest "$REFERENCE"
case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
# In an index, the digest stands in the same object as the architecture.
platform=$(tr -d ' \n' < "$dir/body" | sed 's/},{/\n/g' | grep '"architecture":"'"$architecture"'"' | head -n 1 \
  | sed -n 's/.*"digest":"\(sha256:[0-9a-f]\{64\}\)".*/\1/p')
cp "$dir/body" "$dir/body.manifest"
answer manifest
if [ -n "$platform" ]; then manifest "$platform"; cp "$dir/body" "$dir/body.manifest"; answer platform; fi
# What the image says of itself, of which only its wishes for a driver matter: a few KB in place of the layers.
config=$(tr -d ' \n' < "$dir/body.manifest" | sed -n 's/.*"config":{[^}]*"digest":"sha256:\([0-9a-f]\{64\}\)".*/\1/p')
if [ -n "$config" ]; then
  fetch "$access" '*/*' "${REGISTRY%/manifests}/blobs/sha256:$config"
  if [ "$(sha256sum < "$dir/body" | cut -d' ' -f1)" != "$config" ]; then [ "$status" != 200 ] || status=0; : > "$dir/body"; fi
  grep -o '"\(CUDA_VERSION\|NVIDIA_REQUIRE_CUDA\)=[^"]*"' "$dir/body" | sort -u > "$dir/wishes"
  cp "$dir/wishes" "$dir/body"
  answer config
fi
