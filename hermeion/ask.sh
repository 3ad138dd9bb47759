# Asks over HTTP from a host: what comes after this text is the questions. Variables CA and TOKEN stand above it.
# Prints "@<question>", the body, "@=<HTTP status> <body's SHA-256> <error>"; status 0 when there was no answer.
LC_ALL=C; export LC_ALL
umask 077
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
: > "$dir/curlrc"; : > "$dir/wgetrc"; : > "$dir/body"; : > "$dir/error"; : > "$dir/head"
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
    : > "$dir/head"
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
answer() { # of curl's words the first line counts, after which there may be advice; of others' the last one
  printf '@%s\n' "$1"; cat "$dir/body"
  printf '\n@=%s %s %s\n' "${status:-0}" "$(sha256sum < "$dir/body" | cut -d' ' -f1)" \
    "$(sed -n -e '/^curl: (/{p;q;}' -e '$p' "$dir/error" | head -n 1)"
  : > "$dir/body"; : > "$dir/error"
}
