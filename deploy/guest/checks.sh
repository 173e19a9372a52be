# shellcheck shell=bash disable=SC2153
# The guest's checks, one function each. Each ends in verdicts. Sourced by `test`.

# ask_guest SECONDS COMMAND: runs it in the guest, shows what it says, and leaves that in $OUT.
ask_guest() {
    printf '   %sguest $%s %s\n' "$DIM" "$PLAIN" "$2"
    guest "$1" "$2" | tr -d '\r' | tee "$OUT" | indent
    return "${PIPESTATUS[0]}"
}

# column TITLE ROW: of a table of sluice's in $OUT, the row's entry below a title (its first column names the row).
column() {
    awk -F '  +' -v title="$1" -v row="$2" '
        { sub(/^ +/, "") }
        $1 == "PORT" || $1 == "WORKER" { for (i = 1; i <= NF; i++) if ($i == title) at = i; next }
        at && $1 == row { print $at; exit }' "$OUT"
}

port() {
    sluice_show ports >"$OUT"
    column "$1" "$2"
}

# dropped REASON: how many frames sluice has dropped for it.
dropped() {
    sluice_show drops | awk -v reason="$1" '$2 == reason { n = $1 } END { print n + 0 }'
}

# handed_over: frames that a worker has handed to another.
handed_over() {
    sluice_show workers >"$OUT"
    local worker sum=0 entry
    for worker in 0 1; do
        entry=$(column "HANDED IN/OUT" "$worker")
        sum=$((sum + ${entry#*/}))
    done
    echo "$sum"
}

# The machine as it comes, cards with the kernel or with nobody: sluice doctor names what hands them over. We carry
# those commands out as they stand.
check_doctor() {
    step "sluice doctor: what it says makes each card ready"
    local n
    guest 60 "modprobe e1000; modprobe e1000e" >/dev/null
    ask_guest 120 "sluice doctor >/tmp/doctor; grep -E -A 1 '^(drivers|vfio|nic):' /tmp/doctor"
    grep -q "apt-get install librte-net-tap[0-9]" "$OUT"
    verdict $? "sluice doctor names the package of a driver that the guest has not got"
    # As a second look: some mends are due only when others are done.
    for n in 1 2; do
        ask_guest 120 "sluice doctor | sed -n 's/^ .*\(modprobe [^ ]*\(;\| &&\) .*\)/\1/p' >/tmp/mend; sh -x /tmp/mend"
    done
    ask_guest 120 "sluice doctor | grep '  nic '"
    for n in "${!NICS[@]}"; do
        grep -q "^ok .* $(nic_address "$n") is ready for sluice" "$OUT"
        verdict $? "${NICS[n]} $(nic_address "$n") is ready"
    done
}

# check_ports "DRIVER RX/TX"...: each card's driver, queues and link.
check_ports() {
    step "sluice show ports"
    local n host
    # A card's link comes up some time after its driver has started it.
    for host in "${HOSTS[@]}"; do until_true 30 link_is "$host" up; done
    ask_guest 60 "sluice show ports --socket $SOCKET"
    for n in "${!NICS[@]}"; do
        host=${HOSTS[n]}
        [[ "$(column DRIVER "$host") $(column QUEUES "$host")" == "$1" && $(column LINK "$host") == up* ]]
        verdict $? "${NICS[n]}: $1, up"
        shift
    done
}

# check_ping X Y: the first packet too, from host to host, and to the router's own addresses.
check_ping() {
    step "ping: host ${1^^} (${NICS[$(index "$1")]}) to host ${2^^} (${NICS[$(index "$2")]}) and to the router"
    local to
    for to in "${HOST[$2]}" "${PORT[$1]}" "${PORT[$2]}"; do
        live "$1" 60 ping -n -q -i 0.02 -c 50 -W 10 "$to"
        grep -q "50 packets transmitted, 50 received" "$OUT"
        verdict $? "50 pings from ${HOST[$1]} to $to, 0 lost"
    done
}

# index HOST: the number of the card before it.
index() {
    local n
    for n in "${!HOSTS[@]}"; do [[ ${HOSTS[n]} != "$1" ]] || echo "$n"; done
}

# check_iperf X Y: TCP from host to host.
check_iperf() {
    local rc rate server
    step "iperf3: host ${1^^} (${NICS[$(index "$1")]}) to host ${2^^} (${NICS[$(index "$2")]}), 2 s"
    in_ns "$2" timeout 60 iperf3 --server --one-off >"$STATE/iperf.log" 2>&1 &
    server=$!
    until_true 20 listens "$2" 5201
    live "$1" 50 iperf3 --client "${HOST[$2]}" --time 2 --interval 0
    rc=$?
    ((rc == 0)) || kill "$server"
    wait "$server"
    rate=$(awk '/receiver/ { print $7, $8 }' "$OUT")
    ((rc == 0)) && [[ -n $rate && $rate != 0.00* ]]
    verdict $? "TCP ${NICS[$(index "$1")]} to ${NICS[$(index "$2")]}: ${rate:-nothing}"
}

listens() { [[ -n $(in_ns "$1" ss -Hltn "sport = :$2") ]]; }

# The client of check_rss: 40 connections and 40 datagrams to $1, each answered, the connections held open until the
# file $2 is gone.
# shellcheck disable=SC2016
ECHO_CLIENT='
for n in {1..40}; do
    exec {tcp}<>"/dev/tcp/$1/7" {udp}<>"/dev/udp/$1/7"
    for fd in tcp udp; do
        echo "$fd $n" >&"${!fd}"
        [[ $(timeout 10 dd bs=64 count=1 status=none <&"${!fd}") == "$fd $n" ]] && ((answered_$fd++))
    done
done
echo "answered: $answered_tcp tcp, $answered_udp udp"
while [[ -e $2 ]]; do sleep 0.1; done'

# check_rss X yes|no: connections to sluice itself. Both workers have some. Where the card has two queues and spreads
# flows by our key and table, each comes to the worker that owns it; where it has one, workers hand them over.
check_rss() {
    local card=${NICS[$(index "$1")]} before after owners
    step "RSS: 40 connections and 40 datagrams from host ${1^^} ($card) to sluice's echo server"
    before=$(handed_over)
    : >"$STATE/hold"
    (in_ns "$1" timeout 120 bash -c "$ECHO_CLIENT" echo "${PORT[$1]}" "$STATE/hold" >"$STATE/echo" 2>&1) 8>&- 9>&- &
    until_true 100 grep -q answered: "$STATE/echo"
    indent <"$STATE/echo"
    grep -q "answered: 40 tcp, 40 udp" "$STATE/echo"
    verdict $? "$card: 40 connections and 40 datagrams are answered"
    ask_guest 60 "sluice show connections --socket $SOCKET | awk '\$3 ~ /^${HOST[$1]}:/ { print \"connections of core\", \$1 }' | sort | uniq -c"
    rm "$STATE/hold"
    owners=$(awk '/connections of core/ { sum += $1; n++ } END { print sum + 0, "by", n + 0 }' "$OUT")
    [[ $owners == "40 by 2" ]]
    verdict $? "$card: both workers have some of the 40 connections ($owners)"
    after=$(($(handed_over) - before))
    wait $!
    if [[ $2 == yes ]]; then
        ((after == 0))
        verdict $? "$card: each came to the worker that owns it, $after frames handed over"
    else
        ((after > 0))
        verdict $? "$card, which has one queue: $after frames were handed over to their owners"
    fi
}

# check_http X: a file of 1.3 MB from sluice's HTTP server, ten times at once.
check_http() {
    local card=${NICS[$(index "$1")]} n right=0 clients=()
    step "HTTP: host ${1^^} ($card) fetches a file ten times at once from sluice"
    seq 1 200000 >"$STATE/numbers.txt"
    for n in {1..10}; do
        in_ns "$1" curl --silent --show-error --max-time 60 --output "$STATE/fetched.$n" "http://${PORT[$1]}/numbers.txt" &
        clients+=($!)
    done
    wait "${clients[@]}"
    for n in {1..10}; do cmp -s "$STATE/numbers.txt" "$STATE/fetched.$n" && right=$((right + 1)); done
    ((right == 10))
    verdict $? "$card: $right of 10 came unchanged"
    rm -f "$STATE"/fetched.*
}

# check_offloads NAMES...: what is in use, card by card, and that NAMES are (one word, with commas).
check_offloads() {
    step "offloads"
    local found n line name rc
    found=$(sluice_show ports --json)
    for n in "${!NICS[@]}"; do
        line=$(grep -o "\"device\":\"$(nic_address "$n")\"[^}]*" <<<"$found" |
            sed 's/.*"offloads":\[\([^]]*\)\].*/\1/; s/"//g; s/,/ /g')
        rc=0
        for name in ${1//,/ }; do [[ " $line " == *" $name "* ]] || rc=1; done
        verdict $rc "${NICS[n]}: $line"
        shift
    done
}

# check_checksums X...: the kernels that took TCP and UDP from sluice found all checksums right.
check_checksums() {
    step "TCP, UDP and ICMP checksums, as the hosts' kernels count"
    local host found
    for host in "$@"; do
        live "$host" 20 nstat -asz TcpInSegs TcpInCsumErrors UdpInCsumErrors IcmpInCsumErrors
        found=$(awk '/InCsumErrors/ { bad += $2 } /TcpInSegs/ { good = $2 } END { print bad, "of", good }' "$OUT")
        [[ $found == "0 of "???* ]]
        verdict $? "behind ${NICS[$(index "$host")]} $found were wrong"
    done
}

# check_connect X: our own client in the guest, on both cores, before sluice itself has the card: a connection for each
# request to nginx on host X. We choose the source port, so that what comes back comes to the core that asked.
check_connect() {
    local card=${NICS[$(index "$1")]} SOCKET=/run/sluice/load.sock nginx
    step "connect: sluice load, on both cores, from $card to nginx on host ${1^^}"
    ip -n "${NS[$1]}" addr add 10.9.0.2/24 dev eth0
    cat >"$STATE/nginx.conf" <<NGINX
daemon off; master_process off; pid $STATE/nginx.pid; error_log stderr; events {}
http { access_log off; server { listen 80; location / { return 200 hello; } }
    client_body_temp_path $STATE; proxy_temp_path $STATE; fastcgi_temp_path $STATE;
    uwsgi_temp_path $STATE; scgi_temp_path $STATE; }
NGINX
    (in_ns "$1" nginx -p "$STATE" -c "$STATE/nginx.conf" -e stderr >"$STATE/nginx.log" 2>&1) 8>&- 9>&- &
    nginx=$!
    until_true 20 listens "$1" 80
    guest 20 "(sluice load http://10.9.0.2/ --device $(nic_address "$(index "$1")") --address 10.9.0.1/24 --cores 0,1 \
        --connections 8 --close --warmup 0s --duration 100s >/tmp/load 2>&1; echo ended \$? >>/tmp/load) &"
    until_true 90 both_connect
    indent <"$OUT"
    [[ $(column "HANDED IN/OUT" 0) == 0/0 && $(column "HANDED IN/OUT" 1) == 0/0 ]]
    verdict $? "$card: both workers connect, each answer comes to its core, none is handed over"
    guest 20 "killall -TERM sluice"
    until_true 60 guest 20 "grep ^ended /tmp/load" >/dev/null
    ask_guest 20 "sed -n '/^http/,\$p' /tmp/load"
    grep -q "failed: *none" "$OUT" && grep -q "^ended 0" "$OUT"
    verdict $? "$card: all connections were opened and answered"
    kill "$nginx"
    wait "$nginx"
    ip -n "${NS[$1]}" addr flush dev eth0
}

# hex TEXT...: hexadecimal digits from words of them, colons and blanks left out. mac_of HOST, address ADDRESS: the same.
hex() { tr -d ': \n' <<<"$*"; }
mac_of() { hex "$(in_ns "$1" cat /sys/class/net/eth0/address)"; }
address() {
    # shellcheck disable=SC2086
    printf %02x ${1//./ }
}

# send_raw HOST HEX: one frame as it stands.
send_raw() {
    # shellcheck disable=SC2059
    printf "$(sed 's/../\\x&/g' <<<"$2")" >"$STATE/frame"
    in_ns "$1" socat -u "OPEN:$STATE/frame" INTERFACE:eth0
}

# both_connect: what sluice load's workers have sent, in $OUT, and whether that is some hundred connections' packets.
both_connect() {
    sluice_show workers >"$OUT"
    (($(column ORIGINATED 0)+0 > 500 && $(column ORIGINATED 1)+0 > 500))
}

# check_vlan X ID Y: a tagged sub-interface. The host says who it is (ARP), pings, sends a datagram to the echo server
# and pings host Y, which has no tags: by frames made here, since not every kernel has VLANs. QEMU writes down what
# the card sends.
check_vlan() {
    local card=${NICS[$(index "$1")]} n tag router host mac ours to_us sum
    PCAP=$STATE/pcap-$1
    n=$(index "$1")
    tag=8100$(printf %04x "$2") router=$(address "10.$2.0.1") host=$(address "10.$2.0.2")
    mac=$(mac_of "$1") ours=$(hex "$(nic_mac "$n")")
    step "VLAN $2 behind $card"
    monitor "object_add filter-dump,id=dump,netdev=net$n,file=$PCAP"
    until_true 20 test -s "$PCAP"
    send_raw "$1" "ffffffffffff$mac${tag}08060001080006040001$mac${host}000000000000$router"
    # The echo request of an empty ping: 28 bytes, its checksums worked out.
    to_us=$ours$mac${tag}0800
    send_raw "$1" "$to_us$(ipv4_header "10.$2.0.2" "10.$2.0.1" 01)0800f7ff00000000"
    send_raw "$1" "$to_us$(ipv4_header "10.$2.0.2" "10.$2.0.1" 11)0009000700080000"
    send_raw "$1" "$to_us$(ipv4_header "10.$2.0.2" "${HOST[$3]}" 01)0800f7ff00000000"
    until_true 20 pcap_has "$mac$ours${tag}08060001080006040002"
    verdict $? "$card: an ARP request with tag $2 is answered with that tag"
    tag=$mac$ours${tag}080045
    until_true 20 pcap_has "${tag}[0-9a-f]*01....$router${host}0000ffff00000000"
    verdict $? "$card: and so is a ping"
    # virtio's device has its host fill in the checksum, which here holds what that begins with.
    sum=$(sum "$router$host 0011 0008" open)
    [[ $card == virtio* ]] || sum=$(sum "$router$host 0011 0008 0007 0009 0008")
    until_true 20 pcap_has "${tag}[0-9a-f]*11....$router${host}000700090008$sum"
    verdict $? "$card: and a datagram, its checksum filled in"
    # Zeros have two checksums: kernels differ.
    until_true 20 pcap_has "${tag}[0-9a-f]*01....$(address "${HOST[$3]}")${host}0000....00000000"
    verdict $? "$card to ${NICS[$(index "$3")]}: a ping of host ${3^^} is routed through, and its answer gets the tag"
    monitor "object_del dump"
}

pcap_has() { od -An -v -tx1 "$PCAP" | tr -d ' \n' | grep -q "$1"; }

# sum HEX [open]: the checksum of words; with `open`, the sum that it is the complement of.
sum() {
    local sum=0 word
    for word in $(hex "$1" | sed 's/..../& /g'); do sum=$((sum + 0x$word)); done
    sum=$(((sum & 0xffff) + (sum >> 16)))
    sum=$(((sum & 0xffff) + (sum >> 16)))
    [[ ${2:-} == open ]] || sum=$((~sum & 0xffff))
    printf %04x "$sum"
}

# ipv4_header SOURCE DESTINATION PROTOCOL [ERROR]: of a packet of 28 bytes; ERROR is added to its checksum.
ipv4_header() {
    local front="4500001c0000000040$3" back sum
    back=$(address "$1")$(address "$2")
    sum=$(sum "$front$back")
    printf "$front%04x$back" $(((0x$sum + ${4:-0}) & 0xffff))
}

# check_bad_checksum X WHERE: ten packets with a wrong IPv4 header checksum are dropped for it, and none of ten with
# a right one.
check_bad_checksum() {
    local card=${NICS[$(index "$1")]} error before found n
    step "IPv4 header checksums behind $card, checked $2"
    before=$(dropped ipv4-bad-checksum)
    for error in 0 1; do
        for n in {1..10}; do
            send_raw "$1" "$(hex "$(nic_mac "$(index "$1")")")$(mac_of "$1")0800$(
                ipv4_header "${HOST[$1]}" "${PORT[$1]}" 11 "$error")0009000900080000"
        done
    done
    until_true 20 eval "(( \$(dropped ipv4-bad-checksum) >= $before + 10 ))"
    found=$(($(dropped ipv4-bad-checksum) - before))
    ((found == 10))
    verdict $? "$card: $found of 20 header checksums are found wrong; 10 are"
}

# Large frames into a card (e1000e, MTU 4000), cut or refused on the way out.
check_mtu() {
    step "MTU: 4000 behind ${NICS[2]}, 1500 behind ${NICS[3]}, 1400 behind ${NICS[1]}"
    ip -n "${NS[c]}" link set eth0 mtu 4000
    live c 30 ping -n -q -M do -s 3900 -c 10 -i 0.05 -W 10 "${PORT[c]}"
    grep -q "10 received" "$OUT"
    verdict $? "${NICS[2]}: frames of 3900 bytes both ways, 0 lost"
    live c 30 ping -n -q -M dont -s 3900 -c 10 -i 0.05 -W 10 "${HOST[d]}"
    grep -q "10 received" "$OUT"
    verdict $? "${NICS[2]} to ${NICS[3]}: they are cut into fragments, 0 lost"
    live c 30 ping -n -M do -s 3900 -c 1 -W 10 "${HOST[d]}"
    grep -q "mtu = 1500" "$OUT"
    verdict $? "and with DF set refused with MTU 1500"
    ip -n "${NS[a]}" route flush cache
    live a 30 ping -n -M do -s 1472 -c 1 -W 10 "${HOST[b]}"
    grep -q "mtu = 1400" "$OUT"
    verdict $? "1500 bytes to ${NICS[1]} are refused with MTU 1400"
    ip -n "${NS[c]}" link set eth0 mtu 1500
}

# Frames for somebody else: the card lets them through only where `promiscuous` is set.
check_promiscuous() {
    step "promiscuous: on for ${NICS[0]} a, off for ${NICS[1]} b"
    local host before seen
    for host in a b; do
        before=$(dropped not-our-mac)
        ip -n "${NS[$host]}" neigh replace "${PORT[$host]%.*}.77" lladdr 02:00:00:00:00:77 dev eth0 nud permanent
        live "$host" 30 ping -n -q -c 5 -i 0.2 -W 1 "${PORT[$host]%.*}.77"
        seen=$(($(dropped not-our-mac) - before))
        case $host in
        a) ((seen == 5)) ;;
        b) ((seen == 0)) ;;
        esac
        verdict $? "$host: sluice sees $seen of 5 frames for another station"
    done
}

# link_is X up|down
link_is() { [[ $(port LINK "$1") == "$2"* ]]; }

check_link() {
    step "link: the cable of ${NICS[0]} and ${NICS[3]} is pulled and put back"
    local host n
    for host in a d; do
        n=$(index "$host")
        monitor "set_link nic$n off"
        until_true 30 link_is "$host" down
        verdict $? "${NICS[n]}: the link goes down"
        monitor "set_link nic$n on"
        until_true 30 link_is "$host" up
        verdict $? "${NICS[n]}: the link comes up"
        until_true 30 in_ns "$host" ping -n -q -c 1 -W 1 "${PORT[$host]}" >/dev/null
        verdict $? "${NICS[n]}: packets pass again"
    done
}

# Sluice stands still while frames come, more than the card has descriptors for. QEMU has the TAP wait for most of
# that; its e1000 drops, and counts, a frame that wants two buffers where one is left.
check_missed() {
    local missed
    step "missed packets: sluice stands still while host A sends 2000 large frames to ${NICS[0]}"
    ip -n "${NS[a]}" link set eth0 mtu 4000
    guest 20 "killall -STOP sluice"
    live a 30 ping -n -q -f -l 2000 -c 2000 -s 3900 -W 1 "${PORT[a]}"
    guest 20 "killall -CONT sluice"
    missed=$(port MISSED a)
    ((missed > 0))
    verdict $? "${NICS[0]}: sluice show ports has $missed missed"
    until_true 30 in_ns a ping -n -q -c 1 -W 1 "${PORT[a]}" >/dev/null
    verdict $? "${NICS[0]}: and it works on"
}

# Each card's port is reset, removed and added, one after the other.
check_hotplug() {
    step "sluice port: reset, remove and add"
    local n host
    for n in "${!NICS[@]}"; do
        host=${HOSTS[n]}
        ask_guest 60 "sluice port reset $host --socket $SOCKET && sluice port remove $host --socket $SOCKET"
        verdict $? "${NICS[n]}: reset, then removed"
        link_is "$host" removed
        verdict $? "${NICS[n]}: sluice show ports says so"
        ask_guest 60 "sluice port add $host --socket $SOCKET"
        verdict $? "${NICS[n]}: added again"
        until_true 30 in_ns "$host" ping -n -q -c 1 -W 1 "${PORT[$host]}" >/dev/null
        verdict $? "${NICS[n]}: packets pass again"
    done
}

check_stop() {
    step "stop: SIGTERM, final statistics"
    local before rc
    before=$(wc -l <"$STATE/console")
    printf 'killall -TERM sluice\n' >&5
    await_end 90
    rc=$?
    tail -n +$((before + 1)) "$STATE/console" | tr -d '\r' | tee "$OUT" | indent
    verdict "$rc" "sluice stopped on SIGTERM and the guest with exit status $rc"
    grep -Eq '^books: .*: balanced' "$OUT"
    verdict $? "its books balance: every packet is accounted for"
}
