#!/bin/bash
# Puts a Consul agent for tests below DESTINATION, .build/tools/consul unless given, and prints the path of the program.
# Of Debian's releases only bullseye has it; the mirror is the one that this machine's apt uses. Needs no root.
set -euo pipefail

destination=$(realpath -m "${1:-$(dirname "$0")/../.build/tools/consul}")
program=$destination/usr/bin/consul

mkdir -p "$(dirname "$destination")"
# Several tests may ask at once.
exec 9>"$destination.lock"
flock 9
if [ -x "$program" ]; then
    echo "$program"
    exit 0
fi

# In apt's own words, so that both formats of its sources are understood.
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mapfile -t mirrors < <(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Identifier: Packages' 'Component: main' |
    awk -v release="$release" '$1 == release { print $2 }' | sort -u)
if [ ${#mirrors[@]} -eq 0 ]; then
    echo "no Consul agent: apt has no source for \"main\" of Debian $release; see sources.list(5)" >&2
    exit 1
fi

# On the same file system, so that it comes into being as a whole.
work=$(mktemp -d "$destination.XXXXXX")
trap 'rm -rf "$work"' EXIT
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cat >"$work/apt.conf" <<END
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "$work/none";
Dir::State::Lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "$(id -un)";
END

for mirror in "${mirrors[@]}"; do
    # A mirror moves old releases to its archive, if it has one.
    for place in "${mirror%/}" "${mirror%/debian*}/debian-archive/debian"; do
        rm -rf "$work"/{lists,cache,none}
        mkdir -p "$work"/{lists,cache/archives,none}/partial
        echo "deb [signed-by=$keyring] $place bullseye main" >"$work/sources.list"
        if (cd "$work" && APT_CONFIG=$work/apt.conf apt-get update -qq --error-on=any &&
            APT_CONFIG=$work/apt.conf apt-get download -qq consul) >>"$work/log" 2>&1; then
            dpkg -x "$work"/consul_*.deb "$work/tree"
            "$work/tree/usr/bin/consul" version >/dev/null
            rm -rf "$destination"
            mv "$work/tree" "$destination"
            echo "$program"
            exit 0
        fi
    done
done
sed 's/^/    /' "$work/log" >&2
echo "no Consul agent: the package consul of Debian bullseye is not to be had from ${mirrors[*]}" >&2
exit 1
