"""Debian's components with the driver's packages, beside whatever sources the host has."""

from __future__ import annotations


def debian_components() -> str:
    """Debian's contrib and non-free beside the host's own sources: the same archives, suites and keys."""
    return """if ! apt_index policy | grep -q 'c=non-free[, ]'; then
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] || continue
    case $list in */hermeion-*) continue ;; esac
    awk -v more="contrib non-free non-free-firmware" '
      FILENAME ~ /\\.sources$/ {
        if ($0 ~ /^[ \\t]*#/) next
        if ($0 ~ /^[ \\t]*$/) { stanza(); next }
        field = tolower($1); value = $0; sub(/^[^:]*:[ \\t]*/, "", value)
        if (field ~ /^(types|uris|suites|components|signed-by|enabled):$/) { sub(/:$/, "", field); have[field] = value; last = field }
        else if ($0 ~ /^[ \\t]/ && last == "signed-by") have[last] = have[last] "\\n" $0
        else last = ""
        next
      }
      $1 == "deb" {
        line = $0; sub(/^deb[ \\t]+/, "", line); options = ""
        if (line ~ /^\\[/) { options = line; sub(/\\].*/, "", options); sub(/^\\[[^]]*\\][ \\t]*/, "", line) }
        have["types"] = "deb"; split(line, word, /[ \\t]+/); have["uris"] = word[1]; have["suites"] = word[2]
        have["components"] = substr(line, index(line, word[2]) + length(word[2]))
        if (match(options, /signed-by=[^ ]+/)) have["signed-by"] = substr(options, RSTART + 10, RLENGTH - 10)
        stanza()
      }
      END { stanza() }
      function stanza() {
        if (have["types"] ~ /deb($| )/ && have["uris"] ~ /\\/debian(-security)?\\/?( |$)/ && have["components"] ~ /main/ && have["enabled"] != "no") {
          print "Types: deb\\nURIs: " have["uris"] "\\nSuites: " have["suites"] "\\nComponents: " more
          if (have["signed-by"] != "") print "Signed-By: " have["signed-by"]
          print ""
        }
        delete have; last = ""
      }' "$list"
  done > /etc/apt/sources.list.d/.hermeion-components
  [ -s /etc/apt/sources.list.d/.hermeion-components ] || fail "this host reads no archive of Debian that contrib and non-free could be added for (/etc/apt/sources.list). Name a mirror in hermes_mirrors/apt/distribution."
  mv -f /etc/apt/sources.list.d/.hermeion-components /etc/apt/sources.list.d/hermeion-components.sources
fi
"""
