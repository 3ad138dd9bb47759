# Asks the Hub for the commit and the files of a repository. Variables HUB REPO REVISION; ask.sh stands above.
fetch .hub application/json "$HUB/api/models/$REPO/revision/$REVISION"
commit=$(tr ',{' '\n\n' < "$dir/body" | sed -n 's/^ *"sha": *"\([0-9a-f]\{40\}\)".*/\1/p' | head -n 1)
answer revision
fetch .hub application/json "$HUB/api/models/$REPO/tree/${commit:-$REVISION}?recursive=true&expand=false"
tree=$(cat "$dir/body")
answer tree
