#!/usr/bin/env bash
# Brings uPlot, as npm has it, into this folder; with --check says whether what
# lies here is that.
set -euo pipefail
cd "$(dirname "$0")"
version=1.6.32
there=$(mktemp -d)
trap 'rm -rf "$there"' EXIT
(cd "$there" && npm pack --silent "uplot@$version" >/dev/null && tar xzf "uplot-$version.tgz")
for f in dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE; do
  name=$(basename "$f")
  [ "$name" = LICENSE ] && name=uPlot.LICENSE
  if [ "${1:-}" = --check ]; then
    cmp "$there/package/$f" "$name"
  else
    cp "$there/package/$f" "$name"
  fi
done
