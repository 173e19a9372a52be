# shellcheck shell=bash disable=SC2034
# What every lab has: a number, a folder and namespaces of its own, which vanish when it ends. Sourced.

LABS=/run/sluice-lab
REAP=$(dirname "${BASH_SOURCE[0]}")/reap
declare -A NS

# claim: takes the first free lab number, holds its lock (descriptor 9) and starts its reaper (descriptor 8).
claim() {
    mkdir -p "$LABS"
    local n lock
    for ((n = 0; n < 64; n++)); do
        lock=$LABS/$n.lock
        exec 9>"$lock"
        # The lock counts only if the file is still the one at that path: a reaper removes it.
        flock -n 9 || continue
        [[ $lock -ef /proc/self/fd/9 ]] || continue
        # Leftovers of a lab whose reaper was killed as well.
        [[ -d $LABS/$n ]] && { "$REAP" "$LABS/$n" </dev/null 9>&-; continue; }
        compgen -G "/run/netns/sluice$n-*" >/dev/null && continue
        break
    done
    ((n < 64)) || die "all 64 lab numbers are taken; see $LABS"
    ID=$n STATE=$LABS/$n
    mkdir -p "$STATE"
    OUT=$STATE/out
    exec 8> >(exec setsid "$REAP" "$STATE" >/dev/null)
    REAPER_PID=$!
}

# Closes the reaper's pipe and waits until it has cleaned up.
release() {
    [[ -n ${REAPER_PID:-} ]] || return 0
    exec 8>&-
    wait "$REAPER_PID"
}

# make_namespaces NAME...: one each, without IPv6, found by its short name in NS.
make_namespaces() {
    local name ns
    for name in "$@"; do
        ns=sluice$ID-$name
        NS[$name]=$ns
        echo "$ns" >>"$STATE/namespaces"
        ip netns add "$ns" || die "cannot make network namespace $ns: run as root, on a machine (or privileged container) that allows it"
        ip -n "$ns" link set lo up
        ip netns exec "$ns" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' 2>/dev/null
        ip netns exec "$ns" sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'
    done
}
