# shellcheck shell=bash disable=SC2016
# What the lab prints and counts. Sourced by `run`.

if [[ -t 1 || -n ${FORCE_COLOR:-} ]]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' GREEN='' RED='' YELLOW='' PLAIN=''
fi

PASSED=0
FAILED=0
SKIPPED=0

say() { printf '%s\n' "$*"; }
step() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '   %s%s%s\n' "$DIM" "$*" "$PLAIN"; }

pass() {
    PASSED=$((PASSED + 1))
    printf '%sPASS%s %s\n' "$GREEN" "$PLAIN" "$*"
}

fail() {
    FAILED=$((FAILED + 1))
    printf '%sFAIL%s %s\n' "$RED" "$PLAIN" "$*"
}

skip() {
    SKIPPED=$((SKIPPED + 1))
    printf '%sSKIP%s %s\n' "$YELLOW" "$PLAIN" "$*"
}

# verdict RC TEXT...: PASS when RC is 0, else FAIL.
verdict() {
    local rc=$1
    shift
    if ((rc == 0)); then pass "$@"; else fail "$@"; fi
}

# die TEXT...: something the lab cannot go on without. stderr, exit 2.
die() {
    printf '%s%s: %s%s\n' "$RED" "${PROGRAM:-lab}" "$*" "$PLAIN" >&2
    exit 2
}

# summary: the last line, which scripts read.
summary() {
    if ((SKIPPED > 0)); then
        printf '%d passed, %d failed, %d skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
    else
        printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
    fi
}

indent() { sed -u 's/^/   /'; }

# in_ns HOST COMMAND...: runs a command in a namespace of the lab (a, b: the hosts; r: the router),
# without the lab's own descriptors, so that nobody but the lab and its reaper holds them.
in_ns() {
    local ns=${NS[$1]}
    shift
    ip netns exec "$ns" "$@" 8>&- 9>&-
}

# live HOST SECONDS COMMAND...: shows a command and its output as it comes, and leaves the output in
# $OUT. Gives the command's exit status; 124 when it took longer than SECONDS. It runs in the
# background so that a signal to the lab is handled at once.
live() {
    local host=$1 limit=$2
    shift 2
    printf '   %shost %s $%s %s\n' "$DIM" "${host^^}" "$PLAIN" "$*"
    (
        in_ns "$host" timeout --kill-after=2 "$limit" "$@" 2>&1 | tee "$OUT" | indent
        exit "${PIPESTATUS[0]}"
    ) 8>&- 9>&- &
    wait $!
}

# counter HOST PROTOCOL NAME: a counter of a namespace's /proc/net/snmp, for instance `counter b Ip ReasmOKs`.
counter() {
    in_ns "$1" awk -v proto="$2:" -v name="$3" '
        $1 == proto && !seen { for (i = 2; i <= NF; i++) if ($i == name) at = i; seen = 1; next }
        $1 == proto { print $at; exit }' /proc/net/snmp
}
