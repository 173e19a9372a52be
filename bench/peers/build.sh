#!/bin/sh
# Builds what the comparison needs into bench/peers/build: the net_flood device, and DPDK's l3fwd with room for a
# million routes, and the turns of rte_lpm and rte_fib. All against the libdpdk that pkg-config finds.
set -eu
cd "$(dirname "$0")"
mkdir -p build
build=$PWD/build

fail() {
	printf 'peers: %s\n' "$1" >&2
	exit 1
}

command -v cc >/dev/null || fail "no C compiler: apt-get install -y gcc"
command -v make >/dev/null || fail "no make: apt-get install -y make"
pkg-config --exists libdpdk 2>/dev/null || fail "libdpdk is missing: apt-get install -y libdpdk-dev pkg-config"
command -v dpdk-testpmd >/dev/null || fail "dpdk-testpmd is missing: apt-get install -y dpdk-dev"
examples=/usr/share/dpdk/examples
[ -d $examples/l3fwd ] || fail "the sources of l3fwd are missing: apt-get install -y dpdk-doc"
dpdk=$(pkg-config --modversion libdpdk)
case $dpdk in
22.11*) ;;
*) fail "DPDK $dpdk is installed; the device is written for the driver interface of 22.11 (Debian 12)" ;;
esac

# A driver needs headers that some distributions leave out of libdpdk-dev: take them from the package's own source,
# fetched (and its signature checked) by apt, with lists of our own so that the machine's setup stays as it is.
driver_headers() {
	headers=$build/driver-headers-$dpdk
	if echo '#include <ethdev_vdev.h>
#include <bus_vdev_driver.h>' | cc -E $(pkg-config --cflags libdpdk) -o /dev/null - 2>/dev/null; then
		return # They are installed.
	fi
	cflags="-I$headers"
	[ -f "$headers/ethdev_vdev.h" ] && return
	. /etc/os-release
	apt=$build/apt
	mkdir -p "$apt/lists/partial"
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	printf 'deb-src [signed-by=%s] http://deb.debian.org/debian %s main\n' $key "$VERSION_CODENAME" >"$apt/sources"
	printf 'deb-src [signed-by=%s] http://deb.debian.org/debian-security %s-security main\n' \
		$key "$VERSION_CODENAME" >>"$apt/sources"
	options="-q -o Dir::State::lists=$apt/lists -o Dir::Etc::sourcelist=$apt/sources -o Dir::Etc::sourceparts=-
		-o APT::Sandbox::User=root"
	echo "peers: fetching the driver headers of DPDK $dpdk"
	(cd "$apt" && apt-get $options update >/dev/null &&
		apt-get $options source --download-only \
			dpdk="$(dpkg-query -W -f '${source:Version}' libdpdk-dev)" >/dev/null) ||
		fail "cannot fetch the source package of dpdk $dpdk; put ethdev_vdev.h, ethdev_driver.h, bus_vdev_driver.h, \
bus_driver.h and dev_driver.h of that version into $headers"
	mkdir -p "$headers.new"
	tar -xf "$apt"/dpdk_*.orig.tar.xz -C "$headers.new" --wildcards --transform 's,.*/,,' \
		'*/ethdev_vdev.h' '*/ethdev_driver.h' '*/bus_vdev_driver.h' '*/bus_driver.h' '*/dev_driver.h'
	mv "$headers.new" "$headers"
	rm -r "$apt"
}

build_device() {
	cflags=
	driver_headers
	cc -O3 -march=native -std=gnu11 -Wall -Wextra -Wno-unused-parameter -fPIC -shared -DALLOW_INTERNAL_API \
		-DALLOW_EXPERIMENTAL_API $(pkg-config --cflags libdpdk) -march=native $cflags \
		pmd/*.c -o "$build/librte_net_flood.so.new" \
		$(pkg-config --libs libdpdk) -lrte_bus_vdev
	mv "$build/librte_net_flood.so.new" "$build/librte_net_flood.so"
}

# As published, l3fwd holds 1024 routes (LPM) or 65536 (FIB); its forwarding loop is left as it is.
build_l3fwd() {
	[ "$build/l3fwd" -nt build.sh ] && return
	rm -rf "$build/l3fwd-src"
	mkdir "$build/l3fwd-src"
	cp -r $examples/l3fwd $examples/common "$build/l3fwd-src/"
	sed -i -e 's/^\(#define IPV4_L3FWD_LPM_MAX_RULES\).*/\1 (1 << 20)/' \
		-e 's/^\(#define IPV4_L3FWD_LPM_NUMBER_TBL8S\).*/\1 (1 << 14)/' "$build/l3fwd-src/l3fwd/l3fwd_lpm.c"
	sed -i -e 's/config_ipv4.max_routes = (1 << 16)/config_ipv4.max_routes = (1 << 20)/' \
		"$build/l3fwd-src/l3fwd/l3fwd_fib.c"
	grep -q 'LPM_MAX_RULES (1 << 20)' "$build/l3fwd-src/l3fwd/l3fwd_lpm.c" &&
		grep -q 'max_routes = (1 << 20)' "$build/l3fwd-src/l3fwd/l3fwd_fib.c" ||
		fail "l3fwd of DPDK $dpdk has other limits than this script knows: mend the sed lines in build.sh"
	make -s -C "$build/l3fwd-src/l3fwd" shared
	cp "$build/l3fwd-src/l3fwd/build/l3fwd-shared" "$build/l3fwd"
}

build_lpm() {
	[ "$build/lpm" -nt lpm/lpm.c ] && return
	cc -O3 -std=gnu11 -Wall -Wextra $(pkg-config --cflags libdpdk) -march=native -DALLOW_EXPERIMENTAL_API lpm/lpm.c \
		-o "$build/lpm.new" $(pkg-config --libs libdpdk)
	mv "$build/lpm.new" "$build/lpm"
}

build_device
build_l3fwd
build_lpm
echo "peers: built against DPDK $dpdk in $build"
