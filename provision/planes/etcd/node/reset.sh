# What a reset of this control plane does beside the rest. POSIX sh; record.sh comes before it.

# leave_network: nothing of ours beside dockerd any more, and no container under another name than its own.
leave_network() {
    systemctl stop overlay-join.service 2>/dev/null
    systemctl disable -q --now overlay-mend.service 2>/dev/null
    [ ! -x /usr/local/lib/overlay-provision/mend ] || timeout 60 /usr/local/lib/overlay-provision/mend names >/dev/null 2>&1
}

# put_store_away: the node goes on without its member. The user of etcd goes, too; its programs stay, dockerd asks with them.
put_store_away() {
    end_membership
    put_back '/etc/etcd|/etc/systemd/system/etcd\.service|/var/lib/etcd|etcd$'
    systemctl daemon-reload
}

# end_membership: etcd stopped, its data gone.
end_membership() {
    recorded unit etcd.service >/dev/null || return 0
    systemctl disable -q --now etcd.service 2>/dev/null
    rm -rf /var/lib/etcd/data
    systemctl reset-failed etcd.service 2>/dev/null
    true
}
