# shellcheck shell=bash disable=SC2034
# The guest's kernel and its first files, made once and kept in $CACHE. Sourced.

CACHE=${CARGO_TARGET_DIR:-$ROOT/target}/guest
GUEST=$ROOT/deploy/guest

# The DPDK drivers that a guest can need, and their buses and pools.
PLUGINS=(bus_pci bus_vdev mempool_ring net_e1000 net_virtio net_vmxnet3 net_null)
# Kernel modules, with all they need. The kernel's own network drivers are there so that devices begin as on
# any machine: with the kernel. The others are for disks to boot from.
MODULES=(uio_pci_generic vfio-pci vfio_iommu_type1 e1000 e1000e virtio_net virtio_pci
    virtio_blk ahci sd_mod nvme usb_storage xhci_pci ehci_pci vfat nls_cp437 nls_ascii)

kernel_package() { apt-cache depends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }'; }

# guest_kernel: Debian's kernel, of which this machine gets the files but not the package: that would be what
# it boots next. Sets KERNEL and MODULES_AT (the folder that has lib/modules).
guest_kernel() {
    local package archive
    MODULES_AT=$CACHE/kernel
    KERNEL=$MODULES_AT/vmlinuz
    [[ -e $KERNEL ]] && return
    package=$(kernel_package)
    # A machine on which nothing was installed of late has no lists.
    [[ -n $package ]] || { apt-get update -qq && package=$(kernel_package); }
    [[ -n $package ]] || die "apt knows no linux-image-amd64"
    say "the guest's kernel: $package"
    rm -rf "$CACHE/kernel.new"
    mkdir -p "$CACHE/kernel.new"
    (cd "$CACHE/kernel.new" && apt-get download -qq "$package" 2>"$CACHE/apt.log") ||
        { cat "$CACHE/apt.log" >&2; die "apt-get could not download $package (apt-get update?)"; }
    archive=$(echo "$CACHE/kernel.new"/*.deb)
    dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$CACHE/kernel.new" ./boot ./lib/modules ||
        die "$archive cannot be unpacked"
    mv "$CACHE/kernel.new/boot"/vmlinuz-* "$CACHE/kernel.new/vmlinuz"
    rm -rf "$CACHE/kernel.new/boot" "$archive"
    depmod -b "$CACHE/kernel.new" "$(basename "$CACHE/kernel.new/lib/modules"/*)"
    mv "$CACHE/kernel.new" "$CACHE/kernel"
}

# place FILE...: copies files to where they lie on this machine, with what their links point to.
place() {
    local file real
    for file in "$@"; do
        real=$(realpath "$file")
        install -D "$real" "$TREE$real"
        # A library is opened by the name of a link; all names must lead to one file, or it is loaded twice.
        [[ $file == "$real" || -e $TREE$file ]] || { mkdir -p "$TREE${file%/*}" && ln -s "$real" "$TREE$file"; }
    done
}

# libraries FILE...: the libraries that programs and plugins want.
libraries() { ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/.*ld-/ { print $1 }' | sort -u; }

place_modules() {
    local version files module
    version=$(basename "$MODULES_AT/lib/modules"/*)
    mkdir -p "$TREE/usr/lib/modules/$version"
    for module in "${MODULES[@]}"; do
        files=$(modprobe -d "$MODULES_AT" -S "$version" --show-depends "$module") ||
            die "the guest's kernel has no $module"
        awk '$1 == "insmod" { print $2 }' <<<"$files"
    done | sort -u | while read -r file; do
        install -D -m 644 "$file" "$TREE/usr/lib/modules/${file#*/lib/modules/}"
    done
    cp "$MODULES_AT/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$TREE/usr/lib/modules/$version"
    depmod -b "$TREE" "$version"
}

# The folder from which DPDK loads its drivers at start.
plugin_folder() {
    local eal
    eal=$(libraries "$SLUICE" | grep librte_eal) || die "$SLUICE is not linked with DPDK's shared libraries"
    echo "$(dirname "$(realpath "$eal")")/dpdk/pmds-${eal##*.so.}"*
}

# guest_files: the guest's first files, as cpio: sluice, its libraries, DPDK's drivers, busybox. Made anew when
# one of them has changed. Sets BASE.
guest_files() {
    local plugins plugin files=()
    BASE=$CACHE/base.cpio
    plugins=$(plugin_folder)
    for plugin in "${PLUGINS[@]}"; do
        files+=("$(realpath "$plugins/librte_$plugin.so")")
    done
    [[ -e $BASE && $(<"$CACHE/base.of") == "$SLUICE" && $BASE -nt $SLUICE && $BASE -nt $GUEST/init &&
        $BASE -nt $GUEST/devbind && $BASE -nt $GUEST/build.sh && $BASE -nt ${files[0]} ]] && return
    TREE=$(mktemp -d "$CACHE/tree.XXXXXX")
    mkdir -p "$TREE"/{bin,dev,etc,mnt,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64,var}
    ln -s usr/lib usr/lib64 "$TREE"
    ln -s /run "$TREE/var/run"
    install "$(command -v busybox)" "$TREE/bin/busybox"
    strip -o "$TREE/bin/sluice" "$SLUICE" 2>/dev/null || install "$SLUICE" "$TREE/bin/sluice"
    install "$GUEST/init" "$TREE/init"
    install "$GUEST/devbind" "$TREE/bin/dpdk-devbind.py"
    mapfile -t -O ${#files[@]} files < <(libraries "$SLUICE" "${files[@]}")
    place "${files[@]}"
    place_modules
    (cd "$TREE" && find . | busybox cpio -o -H newc) >"$BASE.new" 2>"$CACHE/cpio.log" ||
        die "the guest's files could not be packed: $(<"$CACHE/cpio.log")"
    rm -rf "$TREE"
    echo "$SLUICE" >"$CACHE/base.of"
    mv "$BASE.new" "$BASE"
}

# build_guest: both. One at a time: guests may be started at once.
build_guest() {
    mkdir -p "$CACHE"
    exec 7>"$CACHE/lock"
    flock 7
    guest_kernel
    guest_files
    # What is running keeps the files that it has begun with.
    ln -f "$BASE" "$STATE/base.cpio" 2>/dev/null || cp "$BASE" "$STATE/base.cpio"
    exec 7>&-
}
