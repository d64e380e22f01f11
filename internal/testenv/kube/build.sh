#!/bin/sh
# Builds the programs of Kubernetes that end-to-end tests use, unless they are
# there: kube-apiserver, which tells the program under test what to do, and
# kube-proxy, which it takes over from and gives back to.
#
#   build.sh [DIR]
#
# DIR is by default where the tests look for it: $KUBE_PROXIER_KUBE_DIR, or else
# kube-proxier/kube-VERSION in the user's cache folder. The first build takes some
# minutes; go's build cache makes later ones short.
set -eu
cd "$(dirname "$0")"

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
dir=${1:-${KUBE_PROXIER_KUBE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kube-proxier/kube-$version}}

for name in kube-apiserver kube-proxy; do
	program=$dir/$name
	if [ -x "$program" ] && [ "$("$program" --version)" = "Kubernetes $version" ]; then
		continue
	fi
	mkdir -p "$dir"
	echo "building $name $version into $dir (minutes, the first time)" >&2
	CGO_ENABLED=0 go build -trimpath \
		-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" \
		-o "$program.$$" "k8s.io/kubernetes/cmd/$name"
	mv "$program.$$" "$program"
done
