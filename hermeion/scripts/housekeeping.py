"""What is asked of a host about its cache, and what is done there: listing, deep check, prune, cancel."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files

from hermeion.jobs import FOLDER, HostFile, write_files

RESULTS = "/run/hermeion/cache"
"""Where the deep check and the prune leave what they found, for whoever reads it afterwards."""

LOCK_SECONDS = 60
"""How old the mark of a running pull may be."""

OWNER = """
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH LC_ALL=C
# A network filesystem may give root no rights: whoever owns the cache does what has to be done in it.
as_owner() {
  owner=$(stat -L -c %u "$cache" 2>/dev/null) || owner=0
  if [ "$(id -u)" != 0 ] || [ "$owner" = 0 ]; then "$@"; return; fi
  setpriv --reuid="$owner" --regid="$(stat -L -c %g "$cache")" --clear-groups -- "$@"
}
"""

LISTING = r"""
cd -P -- "$1" 2>/dev/null || { printf 'none\0'; exit 0; }
printf 'root\0%s\0%s\0' "$(pwd -P)" "$(stat -c '%i %.9Z' .)"
printf 'mount\0%s\0' "$(findmnt -rn -o SOURCE,FSTYPE,TARGET -T . | head -n 1)"
printf 'space\0%s\0' "$(df -PB1 . | awk 'NR==2 {print $2, $4}')"
set --; for folder in hub hermeion; do [ -e "$folder" ] && set -- "$@" "$folder"; done
[ $# -gt 0 ] || exit 0
find "$@" \( -path 'hub/datasets--*' -o -path 'hub/spaces--*' -o -path hub/.locks \) -prune -o \
  -printf 'entry\0%y\0%i\0%T@\0%s\0%n\0%p\0%l\0'
printf 'found\0%s\0' $?
find "$@" -type f -size -16384k \( -path 'hub/models--*/refs/*' -o -path 'hub/models--*/trees/*.json' \
  -o -path 'hermeion/*.manifest' -o -path 'hermeion/*.json' \) ! -path 'hub/*/snapshots/*' -exec sh -c '
  for file; do printf "text\0%s\0" "$file"; tr -d "\0" < "$file"; printf "\0"; done' sh {} +
"""

STATE = r"""
for plan in /opt/hermeion/*/releases/*/plan.json; do
  [ -f "$plan" ] || continue
  release=${plan%/plan.json}; folder=${release%/releases/*}; current=no
  [ "$(readlink "$folder/current")" = "releases/${release##*/}" ] && current=yes
  printf 'release\0%s\0%s\0%s\0' "${folder##*/}" "${release##*/}" $current; tr -d '\0' < "$plan"; printf '\0'
done
for unit in $(systemctl list-units --plain --no-legend --state=active,activating 'hermeion-weights-*.service' | cut -d' ' -f1); do
  job=${unit#hermeion-}; job=${job%.service}
  printf 'pull\0%s\0%s\0' "$job" "$(sed -n 's/^##progress //p' @JOBS@/"$job".log | tail -n 1)"
done
for python in /opt/hermeion/puller/*/bin/python /usr/bin/python3; do
  [ -x "$python" ] && { printf 'python\0%s\0' "$python"; break; }
done
"""


def listing_script(cache: str) -> str:
    """Print everything about a cache: fields that end in NUL, as base64. Changes nothing; ``end`` is the last field."""
    return f"""cache={shlex.quote(cache)}
{OWNER}listing() {{
  printf 'clock\\0%s\\0' "$(date +%s)"
  as_owner sh -c {shlex.quote(LISTING)} listing "$cache"
  printf 'asked\\0%s\\0' $?
{STATE.replace("@JOBS@", FOLDER)}  printf 'end\\0'
}}
listing 2>/dev/null | base64
"""


def cancel_script() -> str:
    """Stop the pulls that run, and print a line for each: ``JOB DONE TOTAL``. What has come stays."""
    return f"""for unit in $(systemctl list-units --plain --no-legend --state=active,activating 'hermeion-weights-*.service' | cut -d' ' -f1); do
  job=${{unit#hermeion-}}; job=${{job%.service}}
  systemctl stop "$unit" || exit 1
  echo "$job $(sed -n 's/^##progress //p' {FOLDER}/"$job".log | tail -n 1)"
done
"""


def verify_script(cache: str, python: str, names: Sequence[str], *, record: bool) -> str:
    """Hash every file of snapshots and leave the findings in ``RESULTS/verify.json``.

    Args:
        python: Its interpreter on the host.
        names: Of the weights in the cache.
        record: Whether manifests are brought up to date.
    """
    program = files("hermeion.puller").joinpath("verify.py").read_text()
    order = {"cache": cache, "names": list(names), "record": record, "result": f"{RESULTS}/verify.json"}
    return f"""set -eu
umask 022
{write_files([HostFile(path=f"{RESULTS}/verify.py", content=program), HostFile(path=f"{RESULTS}/verify-order.json", content=json.dumps(order))])}
rm -f {RESULTS}/verify.json
exec {shlex.quote(python)} -I {RESULTS}/verify.py {RESULTS}/verify-order.json
"""


PRUNE = r"""
set -u
cd -P -- "$1" || { echo "##error $1 cannot be entered"; exit 1; }
root=$(pwd -P); total=$2; freed=0; shift 2; served=" $* "
[ "$root" = "$expected" ] || { echo "##error the cache is in $root now, not in $expected; run again"; exit 1; }
# The filesystem's own clock: those of hosts differ.
now() { touch "${1%%/*}/.clock.$$" 2>/dev/null && stat -c %Y "${1%%/*}/.clock.$$"; rm -f "${1%%/*}/.clock.$$"; }
busy() { # $1 = folder of a repository: whether a pull of it is running; our own lock is none
  time=$(now "$1"); [ -n "$time" ] || { why='nothing can be written there'; return 0; }
  why='it is being pulled now'
  case $1 in hermeion) set -- hermeion/*.lock ;; *) set -- "hermeion/${1#hub/}"@*.lock ;; esac
  for lock; do
    [ -d "$lock" ] && [ ! -e "$lock/prune.$$" ] || continue
    for mark in "$lock" "$lock"/*; do
      [ -e "$mark" ] && [ $((time - $(stat -c %Y "$mark"))) -lt @LOCK@ ] && return 0
    done
  done
  return 1
}
keep() { echo "left $1: $2" >&3; }
named() { why='a release names it now'; case $served in *" $1 "*) ;; *) return 1 ;; esac; } # $1 = org--name@commit
take() { # $1 = name: nobody pulls it while it goes
  lock=hermeion/$1.lock
  [ ! -d "$lock" ] || { mv -T "$lock" "$lock.$$" && rm -f "$lock.$$"/* && rmdir "$lock.$$"; } || return 1
  mkdir "$lock" && : > "$lock/prune.$$" &&
    printf '{"host": "%s", "pid": %s, "boot": "%s", "start": "%s", "since": "%s", "id": "prune-%s", "what": "prune"}\n' \
      "$(uname -n)" $$ "$(cat /proc/sys/kernel/random/boot_id)" "$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20)" \
      "$(date -u +%Y-%m-%dT%H:%M:%S+00:00)" $$ > "$lock/owner.json"
}
drop() { [ ! -e "hermeion/$1.lock/prune.$$" ] || { rm -f "hermeion/$1.lock"/*; rmdir "hermeion/$1.lock"; }; }
# In the folder itself, which must not be reached through a link: nothing outside the cache can be meant.
in_folder() { cd -P -- "$root/$1" 2>/dev/null && [ "$(pwd -P)" = "$root/$1" ]; }
gone() { # $1 = folder below the cache, $2 = name in it
  count=$(in_folder "$1" && [ -f "./$2" ] && [ ! -L "./$2" ] && stat -c '%h %s' "./$2")
  said=$(in_folder "$1" && rm -f -- "./$2" 2>&1) ||
    { [ ! -e "$root/$1/$2" ] || keep "$1/$2" "it cannot be removed: ${said##*: }"; return 0; }
  case $count in '1 '*) freed=$((freed + ${count#1 })); echo "##progress $freed $total" ;; esac
}
unlinked() { # like gone, unless a snapshot has come to need it; $1 = folder of blobs, $2 = name
  if grep -qxF -- "$2" "$links"; then keep "$1/$2" "a snapshot needs it now"; else gone "$1" "$2"; fi
}
links_of() { find "$1/snapshots" -type l -printf '%l\n' 2>/dev/null | sed 's|.*/||' > "$links"; }
empty() { (in_folder "${1%/*}" && rmdir -- "./${1##*/}" 2>/dev/null); return 0; }
links=$(mktemp) || exit 1
# A sign of life of the locks that are taken.
(while sleep 5 && kill -0 $$ 2>/dev/null; do for mark in hermeion/*.lock/prune.$$; do touch -c "$mark" "${mark%/*}"; done; done) >/dev/null 2>&1 &
heart=$!
trap 'kill "$heart" 2>/dev/null; rm -f "$links"' EXIT
"""


def prune_script(cache: str, root: str, repositories: Mapping[str, Mapping[str, Sequence[str]]], total: int) -> str:
    """Remove what a prune found: manifests first, then links, then blobs; each repository by itself.

    ``RESULTS/prune.txt`` gets a line ``left PATH: REASON`` for what has come into use since it was found, and at last
    ``freed BYTES``.

    Args:
        root: Where the cache really is, links resolved.
        repositories: By folder below the cache (``""``: the cache's own leftovers): ``names`` whose records go,
            ``commits`` they are of, ``records``, ``links``, ``blobs`` (paths below the cache), ``folders`` (removed
            if they are empty).
        total: Bytes that are expected to be freed.
    """
    body = "\n".join(_repository(folder, wanted) for folder, wanted in repositories.items())
    inner = f"""expected={shlex.quote(root)}
{PRUNE.replace("@LOCK@", str(LOCK_SECONDS))}
{body}
sync -f . 2>/dev/null || sync
echo "freed $freed" >&3
"""
    pairs = [
        f"{folder.removeprefix('hub/models--')}@{commit}"
        for folder, wanted in repositories.items()
        for commit in wanted.get("commits", ())
    ]
    return f"""set -eu
umask 022
cache={shlex.quote(cache)}
{OWNER}install -d -m 0755 {RESULTS}
rm -f {RESULTS}/prune.txt
# Asked again where it runs: a release may just have been written.
served=
for pair in {" ".join(map(shlex.quote, pairs))}; do
  repo=${{pair%@*}}
  for plan in /opt/hermeion/*/releases/*/plan.json; do
    if grep -qsF -- "${{pair##*@}}" "$plan" && grep -qsF -- "\"${{repo%%--*}}/${{repo#*--}}\"" "$plan"; then served="$served $pair"; fi
  done
done
echo "##total {total}"
{write_files([HostFile(path=f"{RESULTS}/prune.sh", content=inner)])}
as_owner sh -s "$cache" {total} $served < {RESULTS}/prune.sh 3> {RESULTS}/prune.txt
"""


def _split(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{shlex.quote(folder)} {shlex.quote(name)}"


def _repository(folder: str, wanted: Mapping[str, Sequence[str]]) -> str:
    names, where = wanted.get("names", ()), shlex.quote(folder or "hermeion")
    blobs = wanted.get("blobs", ())
    pairs = [f"{folder.removeprefix('hub/models--')}@{commit}" for commit in wanted.get("commits", ())]
    guard = " ||\n".join([f"busy {where}"] + [f"named {shlex.quote(pair)}" for pair in pairs])
    steps = [f"take {shlex.quote(name)} || keep {shlex.quote(name)} 'its lock cannot be taken'" for name in names]
    steps += [f"gone {_split(path)}" for path in (*wanted.get("records", ()), *wanted.get("links", ()))]
    own = [path for path in blobs if folder and path.startswith(f"{folder}/blobs/")]
    inner = [f"unlinked {_split(path)}" for path in own] + [f"gone {_split(path)}" for path in blobs if path not in own]
    if inner:
        check = [f'  keep {where} "$why"', "else", f"  links_of {where}"] if folder else ["  :", "else"]
        steps += [f"if busy {where}; then", *check, *(f"  {line}" for line in inner), "fi"]
    steps += [f"empty {shlex.quote(path)}" for path in wanted.get("folders", ())]
    steps += [f"drop {shlex.quote(name)}" for name in names]
    body = "\n".join(f"  {step}" for step in steps) or "  :"
    return f'if {guard}; then\n  keep {where} "$why"\nelse\n{body}\nfi'
