# What root looks at before the engine starts.
set -eu
# An ejected service has no plan beside it, and its weights are its own affair.
[ -e /opt/hermeion/hermes/current/plan.json ] || exit 0
# No start on weights that are not what was checked. Sizes and times are compared with what was recorded then, which
# takes milliseconds; not inodes, for a restored backup has others.
manifest=/srv/models/hermeion/models--NousResearch--Hermes-3-Llama-3.1-8B@0123456789abcdef0123456789abcdef01234567.manifest
snapshot=/srv/models/hub/models--NousResearch--Hermes-3-Llama-3.1-8B/snapshots/0123456789abcdef0123456789abcdef01234567
again="Run pyinfra INVENTORY deploys/hermes.py again: it checks and repairs."
[ -s "$manifest" ] || {
  echo "hermes: nothing says that its weights were checked: there is no $manifest. $again" >&2
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
      print "hermes: " first (wrong > 1 ? " (and " wrong - 1 " more)" : "") ". " ENVIRON["again"]
      exit 1
    }
  }' "$manifest" - >&2
