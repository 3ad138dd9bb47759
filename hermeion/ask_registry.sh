# Asks a registry for an image. Variables REGISTRY (URL of the manifests) and REFERENCE; ask.sh stands above.
manifest() { # $1 = tag or digest; follows a registry that wants an anonymous token
  fetch "" "$accept" "$REGISTRY/$1"
  challenge=$(tr -d '\r' < "$dir/head" | sed -n 's/^ *[Ww][Ww][Ww]-[Aa]uthenticate: *[Bb]earer //p' | tail -n 1)
  if [ "$status" = 401 ] && [ -n "$challenge" ]; then
    field() { printf '%s' "$challenge" | tr ',' '\n' | sed -n "s/^ *$1=\"\(.*\)\"/\1/p"; }
    fetch "" application/json "$(field realm)?service=$(field service)&scope=$(field scope)"
    bearer=$(tr ',{' '\n\n' < "$dir/body" | sed -n 's/^ *"\(access_\)\{0,1\}token": *"\([^"]*\)".*/\2/p' | head -n 1)
    cp "$dir/curlrc" "$dir/curlrc.registry"; cp "$dir/wgetrc" "$dir/wgetrc.registry"
    printf 'header = "Authorization: Bearer %s"\n' "$bearer" >> "$dir/curlrc.registry"
    printf 'header = Authorization: Bearer %s\n' "$bearer" >> "$dir/wgetrc.registry"
    fetch .registry "$accept" "$REGISTRY/$1"
  fi
}
manifest "$REFERENCE"
case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
# In an index, the digest stands in the same object as the architecture.
platform=$(tr -d ' \n' < "$dir/body" | sed 's/},{/\n/g' | grep '"architecture":"'"$architecture"'"' | head -n 1 \
  | sed -n 's/.*"digest":"\(sha256:[0-9a-f]\{64\}\)".*/\1/p')
answer manifest
if [ -n "$platform" ]; then manifest "$platform"; answer platform; fi
