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
with_keys() { # $1 = the engine's configuration: the same with every key
  found=$(read_keys) || return 1
  cat "$1" || return 1
  echo "api-key:"
  printf '%s\n' "$found" | sed 's/.*/- "&"/'
}
with_keys /opt/hermeion/hermes/current/engine.yaml > "$RUNTIME_DIRECTORY/engine.yaml"
exec env \
  CUDA_VISIBLE_DEVICES=GPU-00000000-1111-2222-3333-444444444444 \
  DO_NOT_TRACK=1 \
  HERMEION_RELEASE=ef35e290c826 \
  HF_HOME=/var/cache/hermeion-hermes/huggingface \
  HF_HUB_CACHE=/srv/models/hub \
  HF_HUB_OFFLINE=1 \
  HOME=/var/cache/hermeion-hermes \
  HOSTILE='$HOME ${x} `id` "double" '"'"'single'"'"' %n {{ x }} {% y %} # : - \ é ×    😀
  second line	' \
  NO=yes \
  PATH=/nowhere \
  VLLM_CACHE_ROOT=/var/cache/hermeion-hermes \
  VLLM_ENGINE_READY_TIMEOUT_S=1122 \
  VLLM_NO_USAGE_STATS=1 \
  XDG_CACHE_HOME=/var/cache/hermeion-hermes/xdg \
  XDG_CONFIG_HOME=/var/cache/hermeion-hermes/xdg \
  keys=a \
  null='' \
  /opt/hermeion/engines/vllm-0.33.0-2808a95d1928/bin/vllm serve \
    --config /run/hermeion-hermes/engine.yaml
