#!/usr/bin/env bash
# An authority, and certificates of it, for tests and small deployments.
#
#   deploy/tls/make-certificates.sh DIR authority
#   deploy/tls/make-certificates.sh DIR node NAME [HOST_OR_ADDRESS ...]
#   deploy/tls/make-certificates.sh DIR client NAME
#   deploy/tls/make-certificates.sh DIR show
#
# authority makes DIR/ca.pem and DIR/ca.key; keep the key where nobody else
# reads it, and not on the nodes. node makes DIR/NAME.pem and DIR/NAME.key, for
# servers and clients, with NAME, localhost and the hosts and addresses as
# alternative names; client those of a client whose distinguished name is
# CN=NAME. Keys are on P-256 and have mode 0400. Existing certificates are
# replaced, each at one instant, so that a node that runs reads the new ones;
# the authority is not.
#
# DAYS is how long a certificate is good (default 365, at most 825), CA_DAYS
# the same of the authority (default 1825, at most 3650).
set -euo pipefail

days=${DAYS:-365}
ca_days=${CA_DAYS:-1825}

usage() {
    sed -n '2,19s/^# \{0,1\}//p' "$0"
}

fail() {
    echo "make-certificates.sh: $*" >&2
    exit 1
}

# A number of days from 1 to $3, in the variable called $1.
check_days() {
    case $2 in
    '' | *[!0-9]*) fail "$1=$2: a number of days" ;;
    esac
    [ "$2" -ge 1 ] && [ "$2" -le "$3" ] || fail "$1=$2: from 1 to $3 days"
}

check_name() {
    case $1 in
    '' | -* | *[!A-Za-z0-9._@-]*)
        fail "'$1': a name has letters, digits and . _ @ - only"
        ;;
    ca) fail "'ca' is the authority's" ;;
    esac
}

key() {
    (umask 077 && openssl genpkey -quiet -algorithm EC \
        -pkeyopt ec_paramgen_curve:P-256 -out "$1")
    chmod 0400 "$1"
}

authority() {
    [ ! -e ca.pem ] && [ ! -e ca.key ] ||
        fail "$PWD has an authority; remove ca.pem and ca.key to make another"
    check_days CA_DAYS "$ca_days" 3650
    key ca.key
    openssl req -x509 -new -key ca.key -sha256 -days "$ca_days" \
        -subj "/CN=Quorate authority $(openssl rand -hex 4)" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem
    chmod 0444 ca.pem
}

# The hosts and addresses $@ as alternative names.
alternatives() {
    local list=() name
    for name in "$@"; do
        case $name in
        *:* | *[0-9].[0-9]*.[0-9]*.[0-9]*) list+=("IP:$name") ;;
        *) list+=("DNS:$name") ;;
        esac
    done
    local IFS=,
    echo "${list[*]}"
}

# The certificate NAME with usage $2 and alternative names $3.
certificate() {
    local name=$1 usage=$2 names=$3
    [ -f ca.pem ] && [ -f ca.key ] ||
        fail "$PWD has no authority: $0 DIR authority makes one"
    check_days DAYS "$days" 825
    work=$(mktemp -d ./.new-XXXXXX)
    trap 'rm -rf "$work"' EXIT
    key "$work/key"
    openssl req -new -key "$work/key" -subj "/CN=$name" -out "$work/csr"
    {
        echo "basicConstraints=critical,CA:FALSE"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$usage"
        echo "subjectAltName=$names"
        echo "subjectKeyIdentifier=hash"
        echo "authorityKeyIdentifier=keyid"
    } > "$work/extensions"
    openssl x509 -req -in "$work/csr" -CA ca.pem -CAkey ca.key -sha256 \
        -days "$days" -set_serial "0x$(openssl rand -hex 16)" \
        -extfile "$work/extensions" -out "$work/pem" 2> "$work/log" ||
        fail "$(cat "$work/log")"
    chmod 0444 "$work/pem"
    mv -f "$work/key" "$name.key"
    mv -f "$work/pem" "$name.pem"
}

show() {
    local file
    for file in *.pem; do
        echo "$file: $(openssl x509 -in "$file" -noout -subject -enddate \
            -nameopt RFC2253 | tr '\n' ' ')"
    done
}

case ${1:-} in
-h | --help | help | '')
    usage
    exit 0
    ;;
esac
[ $# -ge 2 ] || fail "DIR and what to make; --help says more"
mkdir -p -m 0700 "$1"
cd "$1"
what=$2
shift 2
case $what in
authority) authority ;;
node)
    check_name "${1:-}"
    certificate "$1" serverAuth,clientAuth "$(alternatives "$@" localhost)"
    ;;
client)
    check_name "${1:-}"
    [ $# -eq 1 ] || fail "a client has a name only"
    case $1 in
    *@*) certificate "$1" clientAuth "email:$1" ;;
    *) certificate "$1" clientAuth "DNS:$1" ;;
    esac
    ;;
show) show ;;
*) fail "'$what': authority, node, client or show" ;;
esac
