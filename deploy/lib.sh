# shellcheck shell=bash
# What the commands of this folder share. Sourced by them.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [[ -t 1 ]]; then
    BOLD=$'\e[1m' PLAIN=$'\e[0m'
else
    BOLD='' PLAIN=''
fi

heading() { printf '\n%s### %s%s\n' "$BOLD" "$*" "$PLAIN"; }

# die TEXT...: to stderr, exit 2.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

# rustup's cargo is often not yet in PATH in a new shell.
if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then
    PATH=$HOME/.cargo/bin:$PATH
fi
