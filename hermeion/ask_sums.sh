# Reads what a folder of the host holds, to be copied into the cache. Variable FOLDER; ask.sh stands above.
: > "$dir/error"
if [ ! -d "$FOLDER" ]; then status=404; echo "no folder" > "$dir/error"
elif [ ! -e "$FOLDER/SHA256SUMS" ]; then status=404; echo "no SHA256SUMS" > "$dir/error"
else status=200; cat "$FOLDER/SHA256SUMS" > "$dir/body" 2> "$dir/error" || status=403
fi
answer sums
status=200
find -L "$FOLDER" -type f -printf '%s %P\n' > "$dir/body" 2>/dev/null
answer sizes
