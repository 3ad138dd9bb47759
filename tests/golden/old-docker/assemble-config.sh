# Joins the engine's configuration with the API keys, in memory (/run) and readable by the engine alone.
set -eu
umask 077
service=hermes
install -d -m 0711 /run/hermeion
install -d -m 0700 -o 2000 "/run/hermeion/$service" "/var/cache/hermeion/$service"
config=$(mktemp "/run/hermeion/$service/engine.yaml.XXXXXX")
{
  cat "/opt/hermeion/$service/current/engine.yaml"
  echo "api-key:"
  sed 's/.*/- "&"/' "/etc/hermeion/$service/api-keys"
} > "$config"
chown 2000 "$config"
chmod 0400 "$config"
mv -f "$config" "/run/hermeion/$service/engine.yaml"
