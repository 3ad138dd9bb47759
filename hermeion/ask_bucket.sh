# Asks an S3-compatible store. Of each request a URL and, unless anonymous, its headers: SUMS_URL, SUMS_HEADERS, LISTING_…,
# CONFIG_…, HEADER_…. They were signed where the key is. ask.sh stands above.
stored() { # $1 = name of the answer, $2 = URL, $3 = headers, one a line
  [ -n "$2" ] || return 0
  cp "$dir/curlrc" "$dir/curlrc.s3"; cp "$dir/wgetrc" "$dir/wgetrc.s3"
  if [ -n "$3" ]; then
    printf '%s\n' "$3" | sed 's/.*/header = "&"/' >> "$dir/curlrc.s3"
    printf '%s\n' "$3" | sed 's/.*/header = &/' >> "$dir/wgetrc.s3"
  fi
  if [ "$1" = header ]; then # its first MiB, where headers stand; it is no text
    echo 'range = "0-1048575"' >> "$dir/curlrc.s3"; echo 'header = Range: bytes=0-1048575' >> "$dir/wgetrc.s3"
  fi
  fetch .s3 '*/*' "$2"
  if [ "$1" = header ]; then base64 < "$dir/body" | tr -d '\n' > "$dir/text"; cp "$dir/text" "$dir/body"; fi
  answer "$1"
}
stored sums "$SUMS_URL" "$SUMS_HEADERS"
stored listing "$LISTING_URL" "$LISTING_HEADERS"
stored config "${CONFIG_URL:-}" "${CONFIG_HEADERS:-}"
stored header "${HEADER_URL:-}" "${HEADER_HEADERS:-}"
