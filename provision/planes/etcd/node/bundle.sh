# Diagnostics of the store for a bundle. POSIX sh; provision/node/bundle.sh comes before it.

bundle_plane() {
    bundle_unit etcd etcd.service
    bundle_unit join overlay-join.service
    bundle_unit mend overlay-mend.service
    part_file docker/store.env /etc/docker/overlay/store.env
    part_if etcd etcd/version etcd --version
    # shellcheck disable=SC2012 # for people
    part etcd/files sh -c 'ls -laR /etc/etcd /usr/local/lib/etcd; ls -la /var/lib/etcd; du -sk /var/lib/etcd'
    part_file etcd/etcd.env /etc/etcd/etcd.env
    part_file etcd/bootstrap.env /etc/etcd/bootstrap.env
    command -v etcdctl >/dev/null && [ -f /etc/etcd/etcd.env ] || return 0
    # shellcheck disable=SC1091 # our own, on the node
    (unset ETCDCTL_ENDPOINTS ETCDCTL_CACERT ETCDCTL_CERT ETCDCTL_KEY
        set -a && . /etc/etcd/etcd.env
        export ETCDCTL_API=3
        for what in 'endpoint status --cluster' 'endpoint health --cluster' 'member list' 'alarm list'; do
            # shellcheck disable=SC2086 # words
            part "etcd/$(printf %s "${what%% --*}" | tr ' ' -)" etcdctl --command-timeout=3s --dial-timeout=2s -w json \
                --endpoints="$ETCD_ADVERTISE_CLIENT_URLS" --cacert="$ETCD_TRUSTED_CA_FILE" \
                --cert="$ETCD_CERT_FILE" --key="$ETCD_KEY_FILE" $what
        done)
}
