# Lays out what the engine's container reads: its private folders, and its keys where it takes them.
set -eu
umask 077
service=hermes
owner=2000
cache=/var/cache/hermeion/hermes/abababababab
install -d -m 0711 /run/hermeion
install -d -m 0700 -o "$owner" "/run/hermeion/$service" "/var/cache/hermeion/$service" "$cache"
# What another image compiled is of no use to this one; that of a release that can come back stays.
for old in "/var/cache/hermeion/$service"/????????????; do
  [ "$old" = "$cache" ] || grep -qsF "$old" "/opt/hermeion/$service"/releases/*/compose.yaml || rm -rf "$old"
done
sh "/opt/hermeion/$service/current/prepare.sh"
