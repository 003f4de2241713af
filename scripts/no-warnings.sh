#!/bin/bash
# Runs a build and fails when a file of ours has a warning. Dependencies may warn as they like.
set -uo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log" | grep --line-buffered -vE '^\[[0-9]+/[0-9]+\]|^Building for|^$' | grep --line-buffered -vE '^warning: .*unhandled'
status=${PIPESTATUS[0]}
[ "$status" -eq 0 ] || exit "$status"
if grep -E "^$PWD/(Sources|Tests)/[^:]+:[0-9]+:[0-9]+: warning:" "$log" | sort -u | grep .; then
    echo "the build has warnings (above)" >&2
    exit 1
fi
