# shellcheck shell=bash disable=SC2034,SC2153
# The emulated machine: QEMU without KVM, its NICs, and how it is told what to do. Sourced.
#
# NIC n is PCI device 0000:00:(3+n).0; its other end is eth0 of a host, a network namespace of its own.
# The lab's descriptors 8 and 9 (see lab/claim.sh) go to nobody else; 5 and 6 are the guest's second serial line.

# Seconds in which a guest has booted, also where others keep all cores busy.
BOOT=240
# MiB of memory, and how many huge pages of 2 MiB are set apart of it.
MEMORY=1024
HUGE_PAGES=224
CORES=2
# The hosts of the NICs.
HOSTS=(a b c d e f g h)

declare -A HOST PORT
QEMU_PID=''
NICS=()

# check_guest_tools MORE...: what guests need, and more.
check_guest_tools() {
    ((EUID == 0)) || die "network namespaces need root: run this with sudo"
    local tool missing=''
    for tool in qemu-system-x86_64 busybox depmod modprobe ip ss base64 setsid flock "$@"; do
        command -v "$tool" >/dev/null || missing+=" $tool"
    done
    [[ -z $missing ]] || die "missing:$missing. deploy/install installs them"
    [[ -x $SLUICE ]] || die "$SLUICE is not there: cargo build --release -p sluice"
    [[ -c /dev/net/tun ]] || die "/dev/net/tun is not there: modprobe tun"
}

# nic_address N: its PCI address. nic_mac N
nic_address() { printf '0000:00:%02x.0' $((3 + $1)); }
nic_mac() { printf '52:54:00:00:%02x:%02x' "$ID" "$1"; }

# nic_args N MODEL[:QUEUES]: QEMU's words for a NIC, in ARGS. virtio takes several queues, each with an
# interrupt for either way, and spreads flows over them itself (RSS). Bulk traffic into a guest with several queues
# was seen to stall with QEMU 7.2: the tests send it by one queue. The reason is not proved, and 84 s of iperf3 over seven
# connections did not stall again. But a frame that QEMU moves from its TAP's queue to the one that RSS names, and that
# finds no buffer there, waits at the first, until buffers come to the first.
nic_args() {
    local n=$1 model=${2%%:*} queues=1 more=''
    [[ $2 != *:* ]] || queues=${2#*:}
    case $model in
    e1000 | e1000e | vmxnet3) ((queues == 1)) || die "$model: QEMU emulates one queue" ;;
    virtio)
        model=virtio-net-pci
        # With mergeable buffers, QEMU 7.2 was seen to wait for receive buffers that were there.
        more=,mrg_rxbuf=off,rx_queue_size=1024
        ((queues == 1)) || more+=",mq=on,rss=on,vectors=$((2 * queues + 2))"
        [[ $MACHINE == pc ]] || more+=,iommu_platform=on,disable-legacy=on
        ;;
    *) die "NIC $2: it is e1000, e1000e, vmxnet3, virtio or virtio:QUEUES" ;;
    esac
    ARGS+=(-netdev "tap,id=net$n,ifname=tap$n,script=no,downscript=no$( ((queues == 1)) || echo ",queues=$queues")"
        -device "$model,id=nic$n,netdev=net$n,mac=$(nic_mac "$n"),addr=$((3 + n)),romfile=$more")
}

# boot MACHINE NIC...: starts a guest and waits until it listens. MACHINE is pc, or q35, which has an IOMMU.
boot() {
    MACHINE=$1
    shift
    NICS=("$@")
    local n ARGS=(-accel "tcg,thread=multi" -cpu Nehalem -smp "$CORES" -m "$MEMORY") append
    append="console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable hugepages=$HUGE_PAGES"
    case $MACHINE in
    pc) ARGS+=(-M pc) ;;
    q35)
        ARGS+=(-M q35 -device "intel-iommu,intremap=off,caching-mode=on")
        append+=" intel_iommu=on"
        ;;
    *) die "machine $MACHINE: it is pc or q35" ;;
    esac
    for n in "${!NICS[@]}"; do nic_args "$n" "${NICS[n]}"; done
    FROM=(-kernel "$KERNEL" -initrd "$STATE/base.cpio" -append "$append")
    start_qemu
    await_guest
    connect_hosts
}

# boot_disk IMAGE NIC...: starts a pc from a disk, which listens to nobody.
boot_disk() {
    local n ARGS=(-M pc -accel "tcg,thread=multi" -cpu Nehalem -smp "$CORES" -m "$MEMORY")
    MACHINE=pc FROM=(-drive "file=$1,format=raw,if=virtio")
    shift
    NICS=("$@")
    for n in "${!NICS[@]}"; do nic_args "$n" "${NICS[n]}"; done
    start_qemu
    until_true 60 ip -n "${NS[r]}" link show "tap$n" >/dev/null 2>&1
    connect_hosts
}

# start_qemu: with ARGS and FROM (what it boots).
start_qemu() {
    rm -f "$STATE"/{agent,monitor}.{in,out}
    mkfifo "$STATE"/{agent,monitor}.{in,out}
    : >"$STATE/console"
    (
        # In a session of its own: Ctrl-C is for us, who then stop sluice.
        exec setsid ip netns exec "${NS[r]}" qemu-system-x86_64 -nodefaults -display none -no-reboot "${ARGS[@]}" \
            "${FROM[@]}" \
            -chardev "file,id=console,path=$STATE/console" -serial chardev:console \
            -chardev "pipe,id=agent,path=$STATE/agent" -serial chardev:agent \
            -chardev "pipe,id=monitor,path=$STATE/monitor" -mon chardev=monitor,mode=readline \
            -device isa-debug-exit,iobase=0xf4,iosize=1 >"$STATE/qemu" 2>&1 </dev/null
    ) 8>&- 9>&- &
    QEMU_PID=$!
    exec 5<>"$STATE/agent.in" 6<>"$STATE/agent.out"
}

# connect_hosts: the other end of each NIC becomes eth0 of its host.
connect_hosts() {
    local n
    for n in "${!NICS[@]}"; do
        ip -n "${NS[r]}" link set "tap$n" netns "${NS[${HOSTS[n]}]}" name eth0 || die "no TAP for NIC $n"
        ip -n "${NS[${HOSTS[n]}]}" link set eth0 up
    done
}

runs() { kill -0 "$QEMU_PID" 2>/dev/null; }

HEARD=''

# hear VARIABLE: a line from the guest, if one comes within a second. What has come of the next is kept.
hear() {
    local -n heard=$1
    if IFS= read -r -t 1 -u 6 heard; then
        heard=$HEARD$heard
        HEARD=''
        return
    fi
    HEARD+=$heard
    return 1
}

# await_guest: until it says that it is ready.
await_guest() {
    local line since=$SECONDS
    while ((SECONDS - since < BOOT)) && runs; do
        hear line || continue
        [[ $line == ready ]] && { BOOTED=$((SECONDS - since)); return; }
    done
    tail -n 20 "$STATE/console" >&2
    runs || die "QEMU ended: $(<"$STATE/qemu")"
    die "the guest has not booted within $BOOT s; the end of its console is above"
}

# guest SECONDS COMMAND: runs one line in the guest's shell and prints what it says. Gives its exit status, or 124.
guest() {
    local limit=$1 line since=$SECONDS
    shift
    printf '%s\n' "$*" >&5
    while ((SECONDS - since < limit)) && runs; do
        hear line || continue
        [[ $line =~ ^status\ ([0-9]+)$ ]] && return "${BASH_REMATCH[1]}"
        printf '%s\n' "$line"
    done
    echo "the guest does not answer within $limit s"
    return 124
}

# put FILE NAME: copies a text file into the guest.
put() { guest 60 "echo $(base64 -w 0 "$1") | base64 -d >$2"; }

# monitor COMMAND: tells QEMU's monitor something.
monitor() { printf '%s\n' "$*" >"$STATE/monitor.in"; }

# hand_over: binds the NICs to the driver by which DPDK takes devices from this machine, whose IOMMU does not remap
# interrupts.
hand_over() {
    local driver=uio_pci_generic n addresses=''
    if [[ $MACHINE == q35 ]]; then
        driver=vfio-pci
        guest 60 "modprobe vfio_iommu_type1 && echo Y >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
    fi
    for n in "${!NICS[@]}"; do addresses+=" $(nic_address "$n")"; done
    guest 120 "modprobe $driver && dpdk-devbind.py -b $driver$addresses"
}

# until_true SECONDS COMMAND...: until it succeeds.
until_true() {
    local since=$SECONDS limit=$1
    shift
    while ! "$@"; do
        ((SECONDS - since < limit)) || return 1
        sleep 0.2
    done
}

# await_sluice: until it says on the console that it runs, and where its control socket is.
await_sluice() {
    until_true "$BOOT" sluice_runs || true
    SOCKET=$(sed -n 's/^[^ ]* runs: .* control socket \([^ \r]*\).*/\1/p' "$STATE/console")
    [[ -z $SOCKET ]] || return 0
    tail -n 20 "$STATE/console" | indent >&2
    die "sluice did not start in the guest; the end of its console is above"
}

sluice_runs() { ! runs || grep -q '^[^ ]* runs: ' "$STATE/console"; }

# start_sluice CONFIG: runs it in the guest, which ends with it. What it prints goes to the console.
start_sluice() {
    put "$1" /etc/sluice.toml || die "$1 does not fit through the serial line"
    guest 60 "(sluice run -c /etc/sluice.toml >/dev/console 2>&1; leave \$?) &"
    await_sluice
}

# sluice_show WHAT...: asks the sluice in the guest.
sluice_show() { guest 60 "sluice show --socket $SOCKET $*"; }

# give_address HOST ADDRESS/LENGTH: gives a host the address after that of the port before it, and a route to
# everything by the port. Sets HOST[x] and PORT[x], x being the host's name, to the two addresses (without length).
give_address() {
    local address=${2%/*}
    PORT[$1]=$address HOST[$1]=${address%.*}.$((${address##*.} + 1))
    ip -n "${NS[$1]}" addr add "${HOST[$1]}/${2#*/}" dev eth0
    ip -n "${NS[$1]}" route add default via "$address"
}

# host_addresses: an address for each host, as sluice says what its ports have.
host_addresses() {
    local n host found address
    found=$(sluice_show ports --json) || die "sluice does not answer: $found"
    for n in "${!NICS[@]}"; do
        host=${HOSTS[n]}
        address=$(grep -o "\"device\":\"$(nic_address "$n")[^]]*" <<<"$found" | sed 's/.*"addresses":\["[^ ]* \([^"]*\)".*/\1/')
        [[ $address != */* ]] || give_address "$host" "$address"
    done
}

# await_end SECONDS: until QEMU ends. Gives the status with which the guest has left; 124 if it does not.
await_end() {
    local since=$SECONDS status
    while ((SECONDS - since < $1)); do
        if ! runs; then
            wait "$QEMU_PID"
            status=$?
            ((status & 1)) || return 3 # not by `leave`: it crashed, or was ended
            return $((status >> 1))
        fi
        sleep 0.1
    done
    return 124
}
