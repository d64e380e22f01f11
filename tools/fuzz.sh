#!/bin/sh
# Runs each fuzz test of the module for a time.
#
#   fuzz.sh TIME [PACKAGE...]
#
# TIME is go test's -fuzztime, e.g. 30s or 1000x. A failing input is kept in the
# package's testdata/fuzz, from where it is a test case for ever.
set -eu
time=${1:?time, e.g. 30s}
shift
[ $# -gt 0 ] || set -- ./...

go list -f '{{.Dir}}{{range .TestGoFiles}} {{.}}{{end}}{{range .XTestGoFiles}} {{.}}{{end}}' "$@" |
	while read -r dir files; do
		[ -n "$files" ] || continue
		cd "$dir"
		# shellcheck disable=SC2086 # names of Go files
		for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $files); do
			echo "$name in ${dir#"$OLDPWD"/} for $time"
			go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 5s . || exit 1
		done
		cd "$OLDPWD"
	done
