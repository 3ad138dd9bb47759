# Lays out what the engine's container reads: its private folders, and its keys where it takes them.
set -eu
umask 077
# No start on weights that are not what was checked. Sizes and times are compared with what was recorded then, which
# takes milliseconds; not inodes, for a restored backup has others.
manifest=/mnt/big.disk/models/hermeion/models--me--my-llama@0123456789abcdef0123456789abcdef01234567.manifest
snapshot=/mnt/big.disk/models/hub/models--me--my-llama/snapshots/0123456789abcdef0123456789abcdef01234567
again="Run pyinfra INVENTORY deploys/hermes.py again: it checks and repairs."
[ -s "$manifest" ] || {
  echo "mine: nothing says that its weights were checked: there is no $manifest. $again" >&2
  exit 1
}
find -L "$snapshot" -type f -printf '%T@ %s %P\n' 2>/dev/null | LC_ALL=C again=$again awk '
  NR == FNR {
    if ($0 !~ /^[0-9]+ [0-9]+[.][0-9]+ [0-9]+ ./) { old = 1; next }
    path = $0; sub(/^[0-9]+ [0-9.]+ [0-9]+ /, "", path)
    paths[++count] = path; time[path] = $2 ""; size[path] = $3 ""
    next
  }
  { path = $0; sub(/^[0-9.]+ [0-9]+ /, "", path); time_now[path] = $1 ""; size_now[path] = $2 "" }
  END {
    for (i = 1; i <= count; i++) {
      path = paths[i]
      if (!(path in size_now)) problem = "is missing"
      else if (size_now[path] != size[path]) problem = "has " size_now[path] " bytes, and had " size[path] " when it was checked"
      else if (time_now[path] != time[path]) problem = "was changed after it was checked"
      else continue
      if (!wrong++) first = path " of its weights " problem
    }
    if (old) { wrong = 1; first = "the record of its weights is of another release" }
    if (wrong) {
      print "mine: " first (wrong > 1 ? " (and " wrong - 1 " more)" : "") ". " ENVIRON["again"]
      exit 1
    }
  }' "$manifest" - >&2
service=mine
owner=2000
cache=/var/cache/hermeion/mine/abababababab
install -d -m 0711 /run/hermeion
install -d -m 0700 -o "$owner" "/run/hermeion/$service" "/var/cache/hermeion/$service" "$cache"
# What another image compiled is of no use to this one; that of a release that can come back stays.
for old in "/var/cache/hermeion/$service"/????????????; do
  [ "$old" = "$cache" ] || grep -qsF "$old" "/opt/hermeion/$service"/releases/*/compose.yaml || rm -rf "$old"
done
keys=/etc/hermeion/mine/api-keys
read_keys() { # the keys, one in a line; what is no key stops the start, without being shown
  if wrong=$(LC_ALL=C grep -anvE '^([A-Za-z0-9._~+/][A-Za-z0-9._~+/=-]*)?$|^#' "$keys"); then
    lines=$(printf '%s\n' "$wrong" | cut -d: -f1 | tr '\n' ' ')
    echo "/etc/hermeion/mine/api-keys: line ${lines}is no key: letters, digits and ._~+/=- only, no dash in front" >&2
    return 1
  fi
  LC_ALL=C grep -av -e '^#' -e '^$' "$keys" || { echo "/etc/hermeion/mine/api-keys holds no key" >&2; return 1; }
}
with_keys() { # $1 = the engine's configuration: the same with every key
  found=$(read_keys) || return 1
  cat "$1" || return 1
  echo "api-key:"
  printf '%s\n' "$found" | sed 's/.*/- "&"/'
}
put() { # $1 = name, the rest = a command: what it prints becomes a file that the engine alone can read
  name=$1
  shift
  new=$(mktemp "/run/hermeion/$service/$name.XXXXXX")
  "$@" > "$new" || { rm -f "$new"; exit 1; }
  chown "$owner" "$new"
  chmod 0400 "$new"
  mv -f "$new" "/run/hermeion/$service/$name"
}
put engine.yaml with_keys "/opt/hermeion/$service/current/engine.yaml"
