#!/bin/bash
# Installs what is missing by apt: `build` for the product, `lab` for namespaces, `services` for the servers
# that nodes find each other by, `peers` for what the benchmark measures beside the product, `test` for all of it and what tests use.
set -euo pipefail

declare -A packages=(
    [build]="libdqlite-dev libraft-dev libuv1-dev libcurl4-openssl-dev pkg-config"
    [lab]="iproute2 nftables curl iputils-ping procps"
    [peers]="keepalived"
    [services]="dnsmasq-base etcd-server"
    [test]="libdqlite-dev libraft-dev libuv1-dev libcurl4-openssl-dev pkg-config iproute2 nftables curl iputils-ping procps
            libcap2-bin util-linux jq openssl dnsmasq-base etcd-server etcd-client sqlite3 go-dqlite
            python3-prometheus-client"
)

missing=()
for group in "$@"; do
    for package in ${packages[$group]}; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "missing packages: ${missing[*]}; as root: apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
