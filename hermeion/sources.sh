# Asks the Hub and the registry. Variables CA TOKEN HUB REPO REVISION REGISTRY REFERENCE stand above this text.
# Prints "@<question>", the body, "@=<HTTP status> <body's SHA-256> <error>"; status 0 when there was no answer.
LC_ALL=C; export LC_ALL
umask 077
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
: > "$dir/curlrc"; : > "$dir/wgetrc"; : > "$dir/body"; : > "$dir/error"
if [ -n "$CA" ]; then
  printf '%s\n' "$CA" > "$dir/ca.pem"
  echo "cacert = \"$dir/ca.pem\"" >> "$dir/curlrc"
  echo "ca_certificate = $dir/ca.pem" >> "$dir/wgetrc"
fi
cp "$dir/curlrc" "$dir/curlrc.hub"; cp "$dir/wgetrc" "$dir/wgetrc.hub"
if [ -n "$TOKEN" ]; then
  printf 'header = "Authorization: Bearer %s"\n' "$TOKEN" >> "$dir/curlrc.hub"
  printf 'header = Authorization: Bearer %s\n' "$TOKEN" >> "$dir/wgetrc.hub"
fi
accept='application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json'

if command -v curl >/dev/null 2>&1; then
  fetch() { # $1 = suffix of the configuration, $2 = Accept, $3 = URL
    status=$(curl -sSL -q -K "$dir/curlrc$1" --connect-timeout 10 --max-time 60 -H "Accept: $2" \
      -D "$dir/head" -o "$dir/body" -w '%{http_code}' "$3" 2>"$dir/error") || [ "$status" != 000 ] || status=0
  }
elif command -v wget >/dev/null 2>&1; then
  fetch() {
    WGETRC="$dir/wgetrc$1" wget -nv -S --tries=1 --timeout=20 --header="Accept: $2" -O "$dir/body" "$3" 2>"$dir/head"
    grep -v '^  ' "$dir/head" > "$dir/error"
    status=$(awk '$1 ~ /^HTTP\// { s = $2 } END { print s + 0 }' "$dir/head")
  }
else
  printf '@tool\n\n@=0 - missing\n'; exit 0
fi
answer() {
  printf '@%s\n' "$1"; cat "$dir/body"
  printf '\n@=%s %s %s\n' "${status:-0}" "$(sha256sum < "$dir/body" | cut -d' ' -f1)" "$(tail -n 1 "$dir/error")"
  : > "$dir/body"; : > "$dir/error"
}
fetch .hub application/json "$HUB/api/models/$REPO/revision/$REVISION"
commit=$(tr ',{' '\n\n' < "$dir/body" | sed -n 's/^ *"sha": *"\([0-9a-f]\{40\}\)".*/\1/p' | head -n 1)
answer revision
fetch .hub application/json "$HUB/api/models/$REPO/tree/${commit:-$REVISION}?recursive=true&expand=false"
answer tree
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
exit 0
