# Reads what a model in a folder of the host says about itself. Variables FOLDER and FILE (a GGUF file, or empty).
status=200
if [ -d "$FOLDER" ]; then find -L "$FOLDER" -maxdepth 1 -type f -printf '%s %P\n' | sort > "$dir/body"
else status=404; echo "there is no such folder" > "$dir/error"; fi
answer listing
if [ -n "$FILE" ]; then first=$FOLDER/$FILE
else
  status=200; cat "$FOLDER/config.json" > "$dir/body" 2> "$dir/error" || status=404
  answer config
  first=$(ls "$FOLDER"/*.safetensors 2>/dev/null | head -n 1)
fi
if [ -f "$first" ]; then
  status=200; head -c 1048576 "$first" | base64 | tr -d '\n' > "$dir/body"; answer header
fi
