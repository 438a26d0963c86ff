"""Faults of hosts as values: a script that causes each, and one that undoes it."""

from __future__ import annotations

from typing import NamedTuple


class HostFault(NamedTuple):
    """A fault of one host. Both scripts run on it as root; `{name}` is its name, `{other}` the other host's, and
    `{address}` the other host's address."""

    name: str
    cause: str
    undo: str


_SSHD = "systemctl reset-failed ssh; systemctl restart ssh"
_SQUATTER = "systemd-run -q --unit squatter --socket-property=ListenStream={} sleep infinity"
_DROP_IN = r"mkdir -p /run/systemd/system/{0}.d && printf '[Service]\nExecStart=\nExecStart=/bin/false\n'"
_DROP_IN += " >/run/systemd/system/{0}.d/zz.conf && systemctl daemon-reload"
_NO_DROP_IN = (
    "rm -rf /run/systemd/system/{0}.d && systemctl daemon-reload; systemctl reset-failed {0} 2>/dev/null; true"
)


def _rule(rule: str) -> tuple[str, str]:
    return f"iptables -I INPUT -i eth0 {rule} -j DROP", f"iptables -D INPUT -i eth0 {rule} -j DROP"


#: Others write to the folder that it makes read-only: it is caused after them.
READ_ONLY = "etc-read-only"
#: No two of them touch the same thing, so that any two can be caused at once.
FAULTS = (
    HostFault("port-taken", _SQUATTER.format(7946), "systemctl stop squatter.socket"),
    HostFault("hostname-of-another", "hostname {other}", "hostname {name}"),
    HostFault(
        "daemon-json-broken", "mkdir -p /etc/docker && echo '{{' >/etc/docker/daemon.json", "rm /etc/docker/daemon.json"
    ),
    HostFault(
        "etcds-disk-small",
        "mkdir /var/lib/etcd && mount -t tmpfs -o size=100m tmpfs /var/lib/etcd",
        "umount /var/lib/etcd && rmdir /var/lib/etcd",
    ),
    HostFault(READ_ONLY, "mount --bind /etc /etc && mount -o remount,bind,ro /etc", "umount /etc"),
    HostFault(
        "programs-noexec",
        "mount --bind /usr/local /usr/local && mount -o remount,bind,noexec /usr/local",
        "umount /usr/local",
    ),
    HostFault(
        "sshd-forwards-nothing",
        f"echo 'AllowTcpForwarding no' >/etc/ssh/sshd_config.d/forwarding.conf && {_SSHD}",
        f"rm /etc/ssh/sshd_config.d/forwarding.conf && {_SSHD}",
    ),
    HostFault("vxlan-blocked", *_rule("-p udp --dport 4789")),
    HostFault("large-packets-lost", *_rule("-s {address} -m length --length 1421:65535")),
    HostFault(
        "resolver-in-the-subnet",
        "echo 'nameserver 10.99.0.53' >>/etc/resolv.conf",
        "sed -i /10.99.0.53/d /etc/resolv.conf",
    ),
    HostFault("route-in-the-way", "ip route add 10.99.0.0/16 dev eth0", "ip route del 10.99.0.0/16 dev eth0"),
    HostFault("small-mtu", "ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500"),
    HostFault("docker-stopped", "systemctl stop docker.socket docker.service", "systemctl start docker.service"),
    HostFault("docker-disabled", "systemctl disable -q docker.service", "systemctl enable -q docker.service"),
    HostFault("user-etcd-there", "useradd --system --no-create-home etcd", "userdel etcd"),
    HostFault(
        "folder-closed",
        "mkdir -p -m 700 /etc/systemd/system/docker.service.d",
        "rmdir /etc/systemd/system/docker.service.d",
    ),
    HostFault("etcd-does-not-start", _DROP_IN.format("etcd.service"), _NO_DROP_IN.format("etcd.service")),
    HostFault("dockerd-does-not-restart", _DROP_IN.format("docker.service"), _NO_DROP_IN.format("docker.service")),
)
