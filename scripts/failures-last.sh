#!/bin/bash
# Runs tests, and says at the very end what has failed, so that the last lines of a long log tell it.
set -uo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
[ "$status" -eq 0 ] && exit 0
{
    echo "FAILED: $*"
    grep -aE "recorded an issue|recorded a known issue|^✘|[Ff]atal error|Exited with|signal code" "$log" | cut -c1-1200 | tail -40
} >&2
exit "$status"
