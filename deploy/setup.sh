#!/bin/bash
# Install what a build of Quorate needs, once.
#
# 1. Debian packages (compiler, meson, libraries, test clients): only those
#    that are missing, so a second run is quick and needs no network.
# 2. The raft library 0.22.1 into subprojects/raft-0.22.1, from Debian 13's
#    source package. Debian 12 has only 0.15, which loses data, and the binary
#    packages of 0.22.1 are built without assertions. The mirror is taken from
#    this machine's apt sources; lists and caches of the fetch live in a
#    temporary directory, so nothing of the machine's own apt settings, lists
#    or packages changes. apt verifies the archive's signature.
#
# Safe to run again. Needs bash, and root or sudo when packages are missing.
set -euo pipefail

raft_version=0.22.1
raft_package="raft=${raft_version}-1"
raft_suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

packages=(
    # Build.
    gcc libc6-dev meson ninja-build pkg-config
    libuv1-dev libprotobuf-c-dev protobuf-c-compiler libssl-dev
    libpcre2-dev libjansson-dev
    # Unit tests, sanitizers, fuzzers.
    clang libclang-rt-14-dev libcriterion-dev
    # tests/tidy.
    clang-format clang-tidy cppcheck codespell binutils git
    # Integration tests and the scripts of deploy/.
    python3 python3-pika python3-aio-pika amqp-tools
    iproute2 procps openssl jq mandoc
    # Torture tests: hosts with file systems of their own.
    e2fsprogs mount util-linux
    # Fetching the raft source package.
    dpkg-dev xz-utils
)

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
raft_dir=$top/subprojects/raft-$raft_version
raft_rules=$top/subprojects/packagefiles/raft/meson.build

say() {
    printf 'setup: %s\n' "$*"
}

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

usage() {
    cat <<TXT
usage: deploy/setup.sh [--check] [--help]

Installs the Debian packages that Quorate needs and fetches the source of the
raft library $raft_version. Safe to run again.

  --check   change nothing; exit 1 and say what is missing
TXT
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        die "\"$*\" needs root: run this as root or install sudo"
    fi
}

# Names of those of $packages that are not installed.
missing_packages() {
    local name
    local -A have=()
    while read -r name; do
        have[$name]=1
    done < <(dpkg-query -W -f '${db:Status-Abbrev}|${Package}\n' 2> /dev/null |
        sed -n 's/^ii *|//p')
    # pkg-config is provided by pkgconf or by itself, depending on the release.
    if command -v pkg-config > /dev/null; then
        have[pkg-config]=1
    fi
    for name in "${packages[@]}"; do
        [ -n "${have[$name]:-}" ] || echo "$name"
    done
}

# True when apt knows a candidate for every name given.
candidates_known() {
    local name
    for name in "$@"; do
        apt-cache show --no-all-versions "$name" > /dev/null 2>&1 || return 1
    done
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install "$@"
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    if [ "${#missing[@]}" -eq 0 ]; then
        say "packages: all ${#packages[@]} are installed"
        return
    fi
    say "packages: ${#missing[@]} missing: ${missing[*]}"
    if ! candidates_known "${missing[@]}"; then
        say "packages: apt's lists do not know all of them, updating"
        as_root apt-get -q update
    fi
    # Old lists name versions that a mirror no longer has: update, try again.
    if ! apt_install "${missing[@]}"; then
        say "packages: trying again with fresh lists"
        as_root apt-get -q update
        apt_install "${missing[@]}" ||
            die "apt could not install the packages; see its messages above"
    fi
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" -eq 0 ] || die "still not installed: ${missing[*]}"
    say "packages: installed"
}

# The URI of the Debian mirror that this machine's apt already uses. A suite
# with a hyphen (updates, security) lives elsewhere.
debian_mirror() {
    apt-get indextargets \
        --format '$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)' \
        'Created-By: Packages' 2> /dev/null |
        awk -F'|' '$1 == "Debian" && $3 == "main" && $2 !~ /-/ && !found {
            print $4
            found = 1
        }'
}

# The version that a tree of the raft library says it is, or nothing.
raft_tree_version() {
    sed -n 's/^AC_INIT(\[*raft\]*, *\[*\([0-9.]*\)\]*.*/\1/p' \
        "$1/configure.ac" 2> /dev/null | head -n 1
}

raft_is_ready() {
    [ -f "$raft_dir/include/raft.h" ] &&
        [ "$(raft_tree_version "$raft_dir")" = "$raft_version" ] &&
        cmp -s "$raft_rules" "$raft_dir/meson.build"
}

# Our build rules, and raft.h with the legacy interface off.
raft_configure() {
    local dir=$1
    grep -q '@enable_v0@' "$dir/include/raft.h.in" ||
        die "raft.h.in has no @enable_v0@: this is not raft $raft_version"
    sed 's/@enable_v0@/no/g' "$dir/include/raft.h.in" > "$dir/include/raft.h"
    cp "$raft_rules" "$dir/meson.build"
}

# Download and unpack the source package into $1/out.
raft_download() {
    local tmp=$1 uri=$2
    local opts=(
        -q
        -o "Dir::Etc::sourcelist=/dev/null"
        -o "Dir::Etc::sourceparts=$tmp/parts"
        -o "Dir::State::lists=$tmp/lists"
        -o "Dir::Cache=$tmp/cache"
        -o "APT::Get::List-Cleanup=0"
    )
    # apt drops root's rights for downloads, which a private directory refuses.
    if [ "$(id -u)" -eq 0 ]; then
        opts+=(-o "APT::Sandbox::User=root")
    fi
    mkdir -p "$tmp/parts" "$tmp/lists/partial" \
        "$tmp/cache/archives/partial" "$tmp/out"
    {
        echo "Types: deb-src"
        echo "URIs: $uri"
        echo "Suites: $raft_suite"
        echo "Components: main"
        echo "Signed-By: $keyring"
    } > "$tmp/parts/raft.sources"
    apt-get "${opts[@]}" update
    (cd "$tmp/out" && apt-get "${opts[@]}" source "$raft_package")
}

fetch_raft() {
    local uri tree version
    if raft_is_ready; then
        say "raft: $raft_version is in subprojects/"
        return
    fi
    if [ "$(raft_tree_version "$raft_dir")" = "$raft_version" ]; then
        raft_configure "$raft_dir"
        say "raft: build rules renewed"
        return
    fi
    uri=$(debian_mirror)
    if [ -z "$uri" ]; then
        say "raft: apt has no list of a Debian mirror yet, updating"
        as_root apt-get -q update
        uri=$(debian_mirror)
    fi
    [ -n "$uri" ] || die "apt has no Debian main source; add one and run again"
    say "raft: fetching Debian's source package $raft_package"
    # Beside its destination, so that the last step is one rename.
    raft_tmp=$(mktemp -d "$top/subprojects/.raft.XXXXXX")
    trap 'rm -rf "$raft_tmp"' EXIT
    raft_download "$raft_tmp" "$uri" ||
        die "could not fetch $raft_package from this machine's Debian mirror"
    tree=$(find "$raft_tmp/out" -mindepth 1 -maxdepth 1 -type d)
    version=$(raft_tree_version "$tree")
    [ "$version" = "$raft_version" ] ||
        die "the source package holds raft '$version', not $raft_version"
    raft_configure "$tree"
    rm -rf "$raft_dir"
    mv "$tree" "$raft_dir"
    say "raft: $raft_version is in subprojects/"
}

check() {
    local missing bad=0
    mapfile -t missing < <(missing_packages)
    if [ "${#missing[@]}" -ne 0 ]; then
        say "packages missing: ${missing[*]}"
        bad=1
    fi
    if ! raft_is_ready; then
        say "raft $raft_version is not in subprojects/"
        bad=1
    fi
    return "$bad"
}

case ${1:-} in
"") ;;
--check)
    check
    exit
    ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

command -v apt-get > /dev/null || die "this script needs Debian 12 (apt-get)"
install_packages
fetch_raft
say "done; build with: meson setup build/release && ninja -C build/release"
