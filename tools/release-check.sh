#!/bin/sh
# Fails unless two builds of a release give the same bytes: one here, one of a
# copy of the sources in another folder.
#
#   release-check.sh [ARCHITECTURE...]
#
# With FRESH=1 the second one compiles everything again, which takes minutes.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- "$(go env GOARCH)"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
mkdir "$work/sources"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --no-dereference -t "$work/sources"
tools/release.sh v0.0.0-check "$work/first" "$@"
[ -z "${FRESH:-}" ] || export GOCACHE="$work/cache"
(umask 077 && "$work/sources/tools/release.sh" v0.0.0-check "$work/second" "$@")
diff -r "$work/first" "$work/second"
cat "$work/first/SHA256SUMS"
