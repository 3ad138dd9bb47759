# Starts the engine as the unit's own user: with its keys where it takes them, and with its environment.
set -eu
umask 077
sh /opt/hermeion/hermes/current/prepare.sh
exec env \
  CUDA_VISIBLE_DEVICES=GPU-00000000-1111-2222-3333-444444444444 \
  HERMEION_RELEASE=92f9f588c1a2 \
  HOME=/var/cache/hermeion-hermes \
  LLAMA_ARG_FIT=off \
  LLAMA_ARG_N_GPU_LAYERS=all \
  OLLAMA_CONTEXT_LENGTH=131072 \
  OLLAMA_FLASH_ATTENTION=1 \
  OLLAMA_GO_TEMPLATE=0 \
  OLLAMA_HOST=127.0.0.1:8000 \
  OLLAMA_KEEP_ALIVE=-1 \
  OLLAMA_KV_CACHE_TYPE=f16 \
  OLLAMA_LOAD_TIMEOUT=364s \
  OLLAMA_MAX_LOADED_MODELS=1 \
  OLLAMA_MODELS=/var/cache/hermeion-hermes/models \
  OLLAMA_NOPRUNE=1 \
  OLLAMA_NO_CLOUD=1 \
  OLLAMA_NUM_PARALLEL=1 \
  /opt/hermeion/engines/ollama-0.33.3-c13cea8f3389/bin/ollama serve
