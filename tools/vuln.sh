#!/bin/sh
# Fails when code of this module calls something with a known vulnerability.
#
# Where the database (https://vuln.go.dev, or what GOVULNDB names, e.g. file:///srv/vulndb) cannot be
# reached nothing can be known: that is said, and is no failure.
set -u
report=$(go tool -modfile=tools/go.mod govulncheck -db "${GOVULNDB:-https://vuln.go.dev}" ./... 2>&1)
status=$?
case $status,$report in
0,*) echo "$report" ;;
3,*)
	echo "$report"
	exit 1
	;;
*'no such host'* | *'dial tcp'* | *'i/o timeout'*)
	echo "$report" | tail -n 1
	echo 'NOT CHECKED for known vulnerabilities: the database cannot be reached from here'
	;;
*)
	echo "$report"
	echo "govulncheck failed with status $status"
	exit "$status"
	;;
esac
