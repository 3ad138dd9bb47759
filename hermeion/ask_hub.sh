# Asks the Hub for the commit and the files of a repository. Variables HUB REPO REVISION; ask.sh stands above.
fetch .hub application/json "$HUB/api/models/$REPO/revision/$REVISION"
commit=$(tr ',{' '\n\n' < "$dir/body" | sed -n 's/^ *"sha": *"\([0-9a-f]\{40\}\)".*/\1/p' | head -n 1)
answer revision
# A long listing comes in pages. Of the next one's address only the query counts: a mirror may name another host there,
# and the token is for this one.
query='recursive=true&expand=false'; page=1; name=tree; tree=
while :; do
  fetch .hub application/json "$HUB/api/models/$REPO/tree/${commit:-$REVISION}?$query"
  tree=$tree$(cat "$dir/body")
  query=$(tr -d '\r' < "$dir/head" | awk '/^ *HTTP\// { link = "" } tolower($1) == "link:" { link = $0 } END { print link }' \
    | sed -n 's/.*<[^>?]*?\([^>]*\)>; *rel="\{0,1\}next.*/\1/p')
  last=$status
  answer "$name"
  [ "$last" = 200 ] && [ -n "$query" ] || break
  page=$((page + 1)); name=tree-$page
  if [ "$page" -gt 50 ]; then status=0; echo "more than 50 pages" > "$dir/error"; answer "$name"; break; fi
done
