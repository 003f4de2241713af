#!/bin/bash
# Says at once, and not after a long build, that something needs root.
if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root: $1; run it with sudo" >&2
    exit 1
fi
