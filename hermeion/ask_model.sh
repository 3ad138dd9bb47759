# Asks the Hub for what a model says about itself. Variables HUB REPO FILE (a GGUF file, or empty); commit is known.
encoded() { # $1 = name of the answer; the body as base64: a header is no text
  base64 < "$dir/body" | tr -d '\n' > "$dir/text"; cp "$dir/text" "$dir/body"; answer "$1"
}
beginning() { # $1 = URL: its first MiB, where headers stand
  if command -v curl >/dev/null 2>&1; then echo 'range = "0-1048575"' >> "$dir/curlrc.hub"
  else echo 'header = Range: bytes=0-1048575' >> "$dir/wgetrc.hub"; fi
  fetch .hub '*/*' "$1"
}
if [ -n "$FILE" ]; then
  beginning "$HUB/$REPO/resolve/$commit/$FILE"; encoded header
else
  fetch .hub '*/*' "$HUB/$REPO/resolve/$commit/config.json"; answer config
  first=$(printf '%s' "$tree" | tr '{,' '\n\n' | sed -n 's/^ *"path": *"\([^"/]*\.safetensors\)".*/\1/p' | sort | head -n 1)
  if [ -n "$first" ]; then beginning "$HUB/$REPO/resolve/$commit/$first"; encoded header; fi
fi
