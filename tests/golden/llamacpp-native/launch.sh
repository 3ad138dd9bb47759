# Starts the engine as the unit's own user: with its keys where it takes them, and with its environment.
set -eu
umask 077
keys=$CREDENTIALS_DIRECTORY/api-keys
read_keys() { # the keys, one in a line; what is no key stops the start, without being shown
  if wrong=$(LC_ALL=C grep -anvE '^([A-Za-z0-9._~+/][A-Za-z0-9._~+/=-]*)?$|^#' "$keys"); then
    lines=$(printf '%s\n' "$wrong" | cut -d: -f1 | tr '\n' ' ')
    echo "/etc/hermeion/hermes/api-keys: line ${lines}is no key: letters, digits and ._~+/=- only, no dash in front" >&2
    return 1
  fi
  LC_ALL=C grep -av -e '^#' -e '^$' "$keys" || { echo "/etc/hermeion/hermes/api-keys holds no key" >&2; return 1; }
}
# It reads the file itself.
read_keys > /dev/null
exec env \
  CUDA_VISIBLE_DEVICES=GPU-00000000-1111-2222-3333-444444444444,GPU-00000001-1111-2222-3333-444444444444 \
  HERMEION_RELEASE=a0eb9597f2d6 \
  HOME=/var/cache/hermeion-hermes \
  LLAMA_CACHE=/var/cache/hermeion-hermes \
  /opt/hermeion/engines/llamacpp-b11669-121212121212/llama-server \
    --alias hermes,lmstudio-community/Hermes-4-70B-GGUF \
    --api-key-file /run/credentials/hermeion-hermes.service/api-keys \
    --chat-template-kwargs '{"thinking": false}' \
    --ctx-size 46080 \
    --fit off \
    --flash-attn on \
    --host 127.0.0.1 \
    --jinja \
    --no-kv-unified \
    --metrics \
    --min-p 0.0 \
    --model /srv/models/hub/models--lmstudio-community--Hermes-4-70B-GGUF/snapshots/0123456789abcdef0123456789abcdef01234567/Hermes-4-70B-Q8_0-00001-of-00002.gguf \
    --n-gpu-layers all \
    --offline \
    --parallel 1 \
    --port 8000 \
    --reasoning-format deepseek \
    --repeat-penalty 1.0 \
    --no-slots \
    --split-mode layer \
    --temperature 0.6 \
    --tensor-split 1,1 \
    --top-k 20 \
    --top-p 0.95 \
    --no-ui
