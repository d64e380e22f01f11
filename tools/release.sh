#!/bin/sh
# Builds what a release consists of: for each architecture an archive with the
# program and a list of what it is made of
# (CycloneDX), and the SHA-256 of all.
#
#   release.sh VERSION DIR [ARCHITECTURE...]
#
# The same sources and the same Go give the same bytes, whoever builds them and
# where. SOURCE_DATE_EPOCH dates the files; by default that of the last commit.
set -eu
version=${1:?version}
out=${2:?folder}
shift 2
[ $# -gt 0 ] || set -- amd64 arm64 arm ppc64le s390x riscv64
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

export CGO_ENABLED=0 GOOS=linux GOFLAGS= GOARM=7 GOAMD64=v1 GOARM64=v8.0 GOPPC64=power8 GORISCV64=rva20u64
GOOS='' GOARCH='' go -C tools build -o "$stage/sbom" ./sbom

for arch; do
	name=kube-proxier-$version-linux-$arch
	mkdir "$stage/$name"
	GOARCH=$arch go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$version" \
		-o "$stage/$name/kube-proxier" ./cmd/kube-proxier
	"$stage/sbom" kube-proxier "$version" "$stage/$name/kube-proxier" >"$stage/$name/kube-proxier.cdx.json"
	cp README.md "$stage/$name"
	cp "$stage/$name/kube-proxier.cdx.json" "$out/$name.cdx.json"
	chmod 755 "$stage/$name" "$stage/$name/kube-proxier"
	chmod 644 "$stage/$name"/*.* "$out/$name.cdx.json"
	tar --create --directory="$stage" --sort=name --mtime="@$date" --owner=0 --group=0 --numeric-owner \
		--format=ustar "$name" | gzip --no-name --best >"$out/$name.tar.gz"
	rm -r "${stage:?}/$name"
	echo "$out/$name.tar.gz" >&2
done
cd "$out"
sha256sum kube-proxier-"$version"-linux-*.tar.gz kube-proxier-"$version"-linux-*.cdx.json >SHA256SUMS
