#!/bin/sh
# Says when Go is older than go.mod asks for, then installs the Debian packages that
# tests or the demo need, or says which programs are missing where it cannot.
#
#   setup.sh go|test|race|demo
#
# Missing programs are an error for the demo, and for tests when CI=true; tests
# skip otherwise what needs them.
set -eu
PATH=$PATH:/usr/sbin:/sbin

# A Go before 1.21 says only that it cannot read go.mod; later ones get the version
# that go.mod asks for by themselves, unless they may not.
root=$(cd "$(dirname "$0")/.." && pwd)
wanted=$(sed -n 's/^go //p' "$root/go.mod")
said=$(cd "$root" && "${GO:-go}" env GOVERSION 2>&1) || true
version=$(echo "$said" | sed -n 's/^\(devel \)\{0,1\}go\([0-9][0-9.]*\).*/\2/p')
if [ -z "$version" ] || [ "$(printf '%s\n' "$wanted" "$version" | sort -V | head -n 1)" != "$wanted" ]; then
	echo "Go $wanted or newer is needed, see https://go.dev/dl; here is ${version:-none that can be used: $said}" >&2
	exit 1
fi

# program:package that has it on Debian
programs='iptables:iptables xtables-nft-multi:iptables xtables-legacy-multi:iptables nsenter:util-linux'
case ${1:-} in
go) exit 0 ;;
demo) needed=true ;;
race) # its runtime is linked by cgo
	needed=true
	programs="$programs gcc:gcc gcc:libc6-dev"
	;;
test)
	needed=${CI:-false}
	programs="$programs nft:nftables conntrack:conntrack ipset:ipset etcd:etcd-server ip:iproute2 modprobe:kmod xz:xz-utils"
	programs="$programs ipvsadm:ipvsadm qemu-system-x86_64:qemu-system-x86"
	;;
*)
	echo 'usage: setup.sh go|test|race|demo' >&2
	exit 2
	;;
esac

missing() {
	for entry in $programs; do
		command -v "${entry%%:*}" >/dev/null || echo "${entry##*:}"
	done | sort -u | tr '\n' ' '
}

packages=$(missing)
[ -n "$packages" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing $packages" >&2
	# Tests start an etcd of their own; the package's service is not wanted.
	case $packages in
	*etcd-server*) [ ! -d /run/systemd/system ] || systemctl mask --quiet etcd.service ;;
	esac
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # several words on purpose
	apt-get install -qq -y --no-install-recommends $packages >/dev/null 2>&1 ||
		{ apt-get update -qq && apt-get install -qq -y --no-install-recommends $packages >/dev/null; }
	packages=$(missing)
	[ -n "$packages" ] || exit 0
fi

echo "missing programs, in the Debian packages: $packages" >&2
if [ "$needed" = true ]; then
	echo 'install them, or run this as root on Debian' >&2
	exit 1
fi
echo 'tests that need them skip' >&2
