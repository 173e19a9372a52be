# shellcheck shell=bash
# The lab's checks, one function each, in the order `run` calls them. Each ends in verdicts.

check_ping() {
    step "ping: $PINGS echo requests from A to B, the first one to neighbours nobody knows yet"
    live a 60 ping -n -q -i 0.002 -c "$PINGS" "$B"
    grep -q "$PINGS packets transmitted, $PINGS received" "$OUT"
    verdict $? "$PINGS pings, 0 lost, the first included"
}

check_traceroute() {
    step "traceroute: the router is the first hop, host B the second"
    live a 30 traceroute -n -q 1 -N 1 -w 2 "$B"
    grep -Eq "^ *1 +${ROUTER_A//./\\.} " "$OUT" && grep -Eq "^ *2 +${B//./\\.} " "$OUT"
    verdict $? "traceroute shows the router $ROUTER_A, then $B"
}

check_ttl() {
    step "TTL 1: the packet dies at the router, which says so"
    live a 10 ping -n -c 1 -W 2 -t 1 "$B"
    grep -q "From $ROUTER_A .*Time to live exceeded" "$OUT"
    verdict $? "time exceeded comes from $ROUTER_A"
}

check_unreachable() {
    step "no route: the router says that the network is unreachable"
    live a 10 ping -n -c 1 -W 2 192.0.2.1
    grep -q "From $ROUTER_A .*Destination Net Unreachable" "$OUT"
    verdict $? "net unreachable comes from $ROUTER_A"
}

check_fragments() {
    step "fragments: a 9000-byte ping, cut to $MTU_A by A and to $MTU_B by the router"
    if [[ $ROUTER == sluice && $VDEV == af_packet ]]; then
        note "DPDK's af_packet driver has the kernel reassemble fragments (PACKET_FANOUT_FLAG_DEFRAG),"
        note "and drops the result, which is larger than its frames."
        skip "9000-byte pings: use --vdev tap or af_xdp"
        return
    fi
    local before after
    before=$(counter b Ip ReasmOKs)
    live a 20 ping -n -c 5 -i 0.2 -s 9000 "$B"
    grep -q '5 packets transmitted, 5 received' "$OUT"
    verdict $? "5 pings of 9000 bytes to B and back"
    after=$(counter b Ip ReasmOKs)
    ((after - before >= 5))
    verdict $? "host B reassembled $((after - before)) packets"
    live a 20 ping -n -c 5 -i 0.2 -s 9000 "$ROUTER_A"
    grep -q '5 packets transmitted, 5 received' "$OUT"
    verdict $? "the router itself reassembles and answers 5 pings of 9000 bytes"
}

check_dont_fragment() {
    step "DF: a packet of $MTU_A bytes that must not be fragmented meets B's MTU of $MTU_B"
    live a 10 ping -n -c 1 -W 2 -M "do" -s $((MTU_A - 28)) "$B"
    grep -Eq "From $ROUTER_A .*Frag needed and DF set \(mtu = $MTU_B\)" "$OUT"
    verdict $? "fragmentation needed comes from $ROUTER_A with MTU $MTU_B"
    live a 10 ip route get "$B"
    grep -q "mtu $MTU_B" "$OUT"
    verdict $? "host A has learned MTU $MTU_B for $B"
    ip -n "${NS[a]}" route flush cache
}

check_path_mtu() {
    step "path MTU: tracepath finds it"
    live a 30 tracepath -n "$B"
    grep -Eq "Resume: pmtu $MTU_B hops 2 back 2" "$OUT"
    verdict $? "tracepath: path MTU $MTU_B, 2 hops"
}

# iperf HOST SECONDS ARGUMENTS...: an iperf3 client on HOST towards a one-shot server on the other host.
iperf() {
    local client=$1 seconds=$2 server=b address=$B tick
    shift 2
    [[ $client == b ]] && server=a address=$A
    (in_ns "$server" iperf3 --server --one-off >"$STATE/iperf.log" 2>&1) 8>&- 9>&- &
    local server_pid=$!
    for ((tick = 0; tick < 50; tick++)); do
        [[ -n $(in_ns "$server" ss -Hltn 'sport = :5201') ]] && break
        sleep 0.1
    done
    live "$client" $((seconds + 20)) iperf3 --client "$address" --time "$seconds" --forceflush "$@"
    local rc=$?
    # The server ends by itself after one test, unless the client never reached it.
    if ((rc != 0)); then
        local pid
        for pid in $(ip netns pids "${NS[$server]}"); do
            [[ $(<"/proc/$pid/comm") == iperf3 ]] && kill "$pid"
        done 2>/dev/null
    fi
    wait "$server_pid"
    return "$rc"
}

check_tcp() {
    local from=$1 to=$2 seconds=$3
    step "TCP: iperf3 from ${from^^} to ${to^^}, $seconds s"
    iperf "$from" "$seconds"
    local rc=$? intervals zero rate
    intervals=$(awk '$4 == "sec" && !/sender|receiver/' "$OUT" | wc -l)
    zero=$(awk '$4 == "sec" && !/sender|receiver/ && $5 == 0' "$OUT" | wc -l)
    rate=$(awk '/receiver/ { print $7, $8 }' "$OUT")
    ((rc == 0 && intervals >= seconds && zero == 0))
    verdict $? "TCP ${from^^} to ${to^^}: ${rate:-nothing}, $intervals intervals, $zero of them without data"
}

# One UDP run; leaves the datagrams sent and lost on the way in TOTAL and LOST.
try_udp() {
    local from=$1 to=$2 seconds=$3 before overrun rc
    before=$(counter "$to" Udp RcvbufErrors)
    iperf "$from" "$seconds" --udp --bitrate "$UDP_RATE" --length 1200
    rc=$?
    IFS=/ read -r LOST TOTAL < <(awk '/receiver/ { print $(NF - 2) }' "$OUT")
    overrun=$(($(counter "$to" Udp RcvbufErrors) - before))
    ((overrun == 0)) || note "$overrun of them reached ${to^^} and were dropped there by iperf3's own full socket"
    LOST=$((${LOST:-0} - overrun))
    ((rc == 0 && ${TOTAL:-0} > 0 && LOST <= 0))
}

# Up to three tries: where other programs keep the receiver's core busy, its kernel drops packets too.
check_udp() {
    local from=$1 to=$2 seconds=$3 try rc=1
    step "UDP: iperf3 from ${from^^} to ${to^^}, ${UDP_RATE}bit/s in datagrams of 1200 bytes, $seconds s"
    for try in 1 2 3; do
        try_udp "$from" "$to" "$seconds" && rc=0 && break
        note "try $try: $LOST of ${TOTAL:-0} datagrams lost"
    done
    verdict "$rc" "UDP ${from^^} to ${to^^}: ${TOTAL:-0} datagrams, $LOST lost on the way$( ((try == 1)) || echo ", in try $((try > 3 ? 3 : try))")"
}

check_page() {
    step "HTTP: curl on A fetches pages from nginx on B"
    write_page
    (in_ns b nginx -p "$STATE" -c "$STATE/nginx.conf" -e stderr >"$STATE/nginx.log" 2>&1) 8>&- 9>&- &
    local tick
    for ((tick = 0; tick < 50; tick++)); do
        [[ -n $(in_ns b ss -Hltn 'sport = :80') ]] && break
        sleep 0.1
    done
    live a 10 curl --silent --show-error --max-time 5 "http://$B/"
    cmp -s "$OUT" "$STATE/www/index.html"
    verdict $? "the page came through the router"
    live a 20 curl --silent --show-error --max-time 15 --output "$STATE/fetched" \
        --write-out '%{http_code}: %{size_download} bytes in %{time_total} s\n' "http://$B/numbers.txt"
    cmp -s "$STATE/fetched" "$STATE/www/numbers.txt"
    verdict $? "a file of $(stat -c %s "$STATE/www/numbers.txt") bytes came through unchanged"
}

write_page() {
    echo "<h1>Hello from host B</h1><p>This page came through the router.</p>" >"$STATE/www/index.html"
    seq 1 1000000 >"$STATE/www/numbers.txt"
    cat >"$STATE/nginx.conf" <<NGINX
user root;
worker_processes 1;
daemon off;
pid $STATE/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path $STATE; proxy_temp_path $STATE; fastcgi_temp_path $STATE;
    uwsgi_temp_path $STATE; scgi_temp_path $STATE;
    default_type text/html;
    server { listen 80; root $STATE/www; }
}
NGINX
}

check_arp() {
    step "ARP: what each host knows of the router"
    live a 5 ip neigh show dev eth0
    grep -Eq "^$ROUTER_A .*lladdr [0-9a-f:]{17}" "$OUT"
    verdict $? "A knows $ROUTER_A"
    live b 5 ip neigh show dev eth0
    grep -Eq "^$ROUTER_B .*lladdr [0-9a-f:]{17}" "$OUT"
    verdict $? "B knows $ROUTER_B"
}

check_show() {
    local what
    for what in ports neighbours drops; do
        step "sluice show $what"
        "$SLUICE" show "$what" --socket "$SOCKET" 2>&1 8>&- 9>&- | tee "$OUT" | indent
        local rc=${PIPESTATUS[0]}
        case $what in
        neighbours) grep -q "$A" "$OUT" && grep -q "$B" "$OUT" || rc=1 ;;
        *) [[ -s $OUT ]] || rc=1 ;;
        esac
        verdict "$rc" "sluice show $what"
    done
}

check_stop() {
    step "stop: SIGTERM, final statistics"
    local before
    before=$(wc -l <"$LOG")
    stop_router
    local rc=$?
    tail -n +$((before + 1)) "$LOG" | tee "$OUT" | indent
    verdict "$rc" "sluice stopped on SIGTERM with exit status $rc"
    grep -Eq '^books: .*: balanced' "$OUT"
    verdict $? "its books balance: every packet is accounted for"
}
