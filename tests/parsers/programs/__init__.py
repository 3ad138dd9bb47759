"""Programs that hold a release's own parser and answer questions line by line."""
