# shellcheck shell=bash disable=SC2034,SC2153
# The lab's network and its router: namespaces, links, configuration, start and stop. Sourced by `run`.
#
#   host A                 router                 host B
#   10.1.0.2/24  --------  10.1.0.1   10.2.0.1  --------  10.2.0.2/24
#   MTU 1500                                     MTU 1400
#
# Interface names are the same in every lab, since each lab has namespaces of its own.

MTU_A=1500
MTU_B=1400
A=10.1.0.2
B=10.2.0.2
ROUTER_A=10.1.0.1
ROUTER_B=10.2.0.1

ROUTER_PID=''

# The lab's files.
prepare() {
    mkdir -p "$STATE/www"
    echo "sluice-lab$ID" >"$STATE/prefix"
    LOG=$STATE/sluice.log SOCKET=$STATE/sluice.sock CONFIG=$STATE/sluice.toml
}

# veth_pair HOST MTU: HOST's eth0, with its other end in the router's namespace under HOST's name.
# The host must finish its checksums and segments itself: no device behind a veth does it for it.
veth_pair() {
    ip -n "${NS[r]}" link add "port-$1" mtu "$2" type veth peer name eth0 mtu "$2" netns "${NS[$1]}" ||
        die "cannot make a veth pair: modprobe veth"
    in_ns "$1" ethtool -K eth0 tx off >/dev/null
    # The kernel's own stack keeps quiet on the router's side.
    [[ $ROUTER == linux ]] || ip -n "${NS[r]}" link set "port-$1" arp off
    ip -n "${NS[r]}" link set "port-$1" up
}

# tap_behind HOST: HOST's eth0 as a macvlan on the TAP that sluice has made in its own namespace. The
# TAP stays where it is: DPDK asks for its link by name, and would see it down after a move.
tap_behind() {
    ip -n "${NS[r]}" link set "port-$1" arp off txqueuelen 8192
    ip -n "${NS[r]}" link add link "port-$1" name "mv-$1" type macvlan mode private ||
        die "cannot make a macvlan on the TAP: modprobe macvlan, or use --vdev af_xdp"
    ip -n "${NS[r]}" link set "mv-$1" netns "${NS[$1]}" name eth0
}

# host_up HOST ADDRESS GATEWAY MTU
host_up() {
    ip -n "${NS[$1]}" addr add "$2/24" dev eth0
    ip -n "${NS[$1]}" link set eth0 mtu "$4" up
    ip -n "${NS[$1]}" route add default via "$3"
}

# The devargs of the port towards HOST.
device() {
    local number=0 more=''
    [[ $1 == a ]] || number=1
    [[ $VDEV != af_packet ]] || more=,blocksz=65536,framecnt=2048
    echo "net_$VDEV$number,iface=port-$1$more"
}

write_config() {
    local core=$(((ID + 1) % $(nproc)))
    cat >"$CONFIG" <<TOML
name = "lab$ID"

[dpdk]
file_prefix = "sluice-lab$ID"
eal_args = ["--no-pci"]

[[port]]
name = "a"
device = "$(device a)"
addresses = ["$ROUTER_A/24"]

[[port]]
name = "b"
device = "$(device b)"
addresses = ["$ROUTER_B/24"]
mtu = $MTU_B

[workers]
cores = [$core]
poll = "adaptive"

[control]
socket = "$SOCKET"
TOML
}

# start_router: starts it and waits until it answers on its control socket.
start_router() {
    if [[ $ROUTER == linux ]]; then
        ip -n "${NS[r]}" addr add "$ROUTER_A/24" dev port-a
        ip -n "${NS[r]}" addr add "$ROUTER_B/24" dev port-b
        ip netns exec "${NS[r]}" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
        return
    fi
    write_config
    say "$CONFIG:"
    indent <"$CONFIG"
    step "sluice run -c $CONFIG"
    (exec ip netns exec "${NS[r]}" "$SLUICE" run -c "$CONFIG" >"$LOG" 2>&1) 8>&- 9>&- &
    ROUTER_PID=$!
    local tick
    for ((tick = 0; tick < 300; tick++)); do
        [[ -S $SOCKET ]] && "$SLUICE" show ports --socket "$SOCKET" >/dev/null 2>&1 && break
        if ! kill -0 "$ROUTER_PID" 2>/dev/null; then
            indent <"$LOG"
            die "sluice did not start; its words are above (\`$SLUICE doctor\` looks at the machine)"
        fi
        sleep 0.1
    done
    indent <"$LOG"
    ((tick < 300)) || die "sluice does not answer on $SOCKET after 30 s; its words are above"
}

# stop_router: SIGTERM, as an init system does. Gives its exit status; 124 when it takes over 10 s.
stop_router() {
    local tick
    kill -TERM "$ROUTER_PID" 2>/dev/null
    for ((tick = 0; tick < 100; tick++)); do
        if ! kill -0 "$ROUTER_PID" 2>/dev/null; then
            wait "$ROUTER_PID"
            return
        fi
        sleep 0.1
    done
    return 124
}

build_network() {
    make_namespaces a r b
    if [[ $ROUTER == linux || $VDEV != tap ]]; then
        veth_pair a "$MTU_A"
        veth_pair b "$MTU_B"
        start_router
    else
        start_router
        tap_behind a
        tap_behind b
    fi
    host_up a "$A" "$ROUTER_A" "$MTU_A"
    host_up b "$B" "$ROUTER_B" "$MTU_B"
}
