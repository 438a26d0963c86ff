#!/bin/sh
# Before etcd starts, look whether the other members have a newer authority, which does not know this host. Written by
# overlay-provision. POSIX sh.
#
# A member that was given up and is back is told so by one that is left. When the members' authority has been replaced, that
# one refuses its certificate, and tells it nothing. Several such members may be a majority of the store that they remember,
# and acknowledge writes. But a member shows its certificate to anybody. So each member looks at those of the others before
# its etcd starts. Only this one counts: its authority has the name of ours, but is none that this host trusts, and it is
# newer than this host's own. All times in certificates are of the controller's clock; no host's clock counts, and neither
# does the end of a certificate. If nobody shows such a certificate in time, etcd starts as always.
#
# before-start PORT   fail if etcd has to stay off. PORT: the one on which members reach each other
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
pki=${OVERLAY_ETCD_PKI:-/etc/etcd/pki} # the variables are for tests
store=${OVERLAY_STORE_FILE:-/etc/docker/overlay/store.env}
patience=2 # seconds for all answers

# may_start PORT: succeed unless another member shows a certificate of a newer authority.
may_start() {
    # This host's own address is the first.
    others=$(sed -n 's/:[0-9][0-9]*//g; s|^OVERLAY_STORE=etcd://[^,]*,||p' "$store" 2>/dev/null | tr ',' ' ')
    [ "$others" ] || return 0
    if ! command -v openssl >/dev/null; then
        echo "not looked at: whether the other members are of a newer authority, for there is no openssl here"
        return 0
    fi
    # Its own certificate is trusted, or else that of no other would be.
    is_trusted "$pki/peer.crt" && shown=$(mktemp -d) || return 0
    trap 'rm -rf "$shown"' EXIT
    for address in $others; do
        timeout "$patience" openssl s_client -connect "$address:$1" </dev/null 2>/dev/null |
            openssl x509 >"$shown/$address" 2>/dev/null &
    done
    wait
    for address in $others; do
        if is_of_newer_authority "$shown/$address" 2>/dev/null; then
            echo "etcd stays off: the member at $address is of a newer authority, which does not know this host:" \
                "it was given up. fab provision --yes lets it join anew; its old data is kept"
            return 1
        fi
    done
}

# is_of_newer_authority FILE: succeed if a certificate is of an authority that has replaced ours.
is_of_newer_authority() {
    [ "$(issuer "$1")" = "$(issuer "$pki/peer.crt")" ] || return
    is_trusted "$1"
    [ "$?" -eq 2 ] && [ "$(start "$1")" -gt "$(start "$pki/peer.crt")" ] # 1: openssl itself has failed
}

# is_trusted FILE: succeed if a certificate is of an authority that this host trusts, whenever it ends.
is_trusted() {
    openssl verify -no_check_time -CAfile "$pki/peer-ca.crt" "$1" >/dev/null 2>&1
}

issuer() {
    openssl x509 -noout -issuer -in "$1"
}

# start FILE: print the start of a certificate's validity as a number, YYMMDDhhmmss.
start() {
    openssl asn1parse -in "$1" | sed -n '/UTCTIME/{s/.*://; s/Z$//; p; q;}'
}

may_start "$1"
