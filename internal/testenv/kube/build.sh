#!/bin/sh
# Builds the kube-apiserver that end-to-end tests use, unless it is there.
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
program=$dir/kube-apiserver

if [ -x "$program" ] && [ "$("$program" --version)" = "Kubernetes $version" ]; then
	exit 0
fi
mkdir -p "$dir"
echo "building kube-apiserver $version into $dir (minutes, the first time)" >&2
CGO_ENABLED=0 go build -trimpath \
	-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" \
	-o "$program.$$" k8s.io/kubernetes/cmd/kube-apiserver
mv "$program.$$" "$program"
