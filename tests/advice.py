"""The commands in the project's messages: found in its source, and for each how a test runs it, or why none does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "provision"

PROGRAMS = (
    "apt-get|cat|chmod|chown|cp|df|docker|etcdctl|ethtool|fab|findmnt|getent|hostnamectl|ip|iptables|journalctl|kill|ls|"
    "modprobe|mount|nc|nft|nsenter|ps|rm|sed|ss|ssh|ssh-add|ssh-keygen|sysctl|systemctl|systemd-machine-id-setup|"
    "timedatectl|umount"
)
#: A program, and what it is to do: a word or two, and options.
COMMAND = re.compile(
    rf"(?<![\w/.=-])(?P<program>{PROGRAMS})"
    r"(?P<verb>(?: (?:swarm|node|member|alarm))?(?: [a-z][\w-]*(?![\w.:/@=|]))?)"
    r"(?P<options>(?: -{1,2}[\w-]+(?![\w=]))*)(?![\w-])"
)

#: What the pattern takes for a command and is none: words of a sentence, and parts of scripts, which other tests run.
NONE = frozenset(
    {"cat", "chmod", "chown", "docker", "docker cannot", "docker command", "docker on", "docker save", "docker say"}
    | {"docker export", "docker load", "etcdctl", "fab", "ip -4 -o", "ip -o -4", "iptables", "iptables is", "mount a"}
    | {"mount the", "nc -w", "nft", "nsenter", "rm", "rm -rf", "rm -rf --", "rm docker_gwbridge", "sed -n", "ss -K"}
    | {"ssh", "ssh host", "ssh there", "systemctl"}
    | {"docker exec", "fab --help", "ls", "ls -f"}
)

#: Commands that no test runs as they stand, and why.
NOT_RUN = {
    "apt-get install": "the hosts of the lab have no way to a mirror",
    "apt-get purge": "as apt-get install",
    "apt-get update": "as apt-get install",
    "docker node demote": "test_swarm_leaving.py demotes managers; a lone one cannot be demoted",
    "docker node rm": "removes a node that is down; test_swarm_leaving.py does so through the API",
    "docker pull": "the hosts of the lab have no way to a registry",
    "docker pull --platform": "as docker pull",
    "docker swarm leave": "without --force only workers leave",
    "docker swarm unlock": "asks for a key on a terminal",
    "etcdctl alarm disarm": "no test fills a store up to its quota",
    "etcdctl compact": "named without its arguments",
    "etcdctl member remove": "named without its arguments; test_leaving.py removes members through the API",
    "ethtool -K": "the hosts of the lab have no card that computes checksums",
    "modprobe esp4": "the hosts of the lab share the kernel of this machine",
    "ssh -W": "a ProxyCommand; test_remote_ways.py has one",
    "timedatectl set-ntp": "the hosts of the lab share the clock of this machine",
    "timedatectl timesync-status": "no time service runs on the hosts of the lab",
}


@dataclass(frozen=True)
class Advice:
    """How a command is run: as a message names it, on a host, after `before`; afterwards `after` runs."""

    command: str
    before: str = ":"
    after: str = ":"


SMALL = "mkdir /run/small && mount -t tmpfs -o ro tmpfs /run/small"
PROBE = "docker run -d --name advice busybox sleep 60"
OTHER = "198.51.100.77"
SOURCE_OF = "ip route replace $(ip -o route get 198.51.100.12 | sed 's/ src .*//') src 198.51.100.11"
CLONE = "rm -f /etc/machine-id /var/lib/dbus/machine-id && systemd-machine-id-setup"

#: What is run on the first host of a lab with etcd, one after the other. The key: how the command begins.
ON_A_HOST = {
    "cp -aL": Advice("cp -aL /etc/docker /etc/docker.new", after="rm -rf /etc/docker.new"),
    "df -h": Advice("df -h /var/lib/docker"),
    "docker info": Advice("docker info"),
    "docker logs": Advice("docker logs advice", PROBE, "docker rm -f advice"),
    "docker network": Advice("docker network disconnect bridge advice", PROBE, "docker rm -f advice"),
    "docker ps -a": Advice("docker ps -a"),
    "docker ps -aq -f": Advice("docker ps -aq -f label=overlay-keeper"),
    "docker rm -f": Advice("docker rm -f advice", PROBE),
    "docker start": Advice(
        "docker start advice", "docker create --name advice busybox sleep 60", "docker rm -f advice"
    ),
    "docker update --restart": Advice("docker update --restart unless-stopped advice", PROBE, "docker rm -f advice"),
    "getent passwd": Advice("getent passwd root"),
    "hostnamectl set-hostname": Advice("hostnamectl set-hostname node1"),
    "ip -4 -brief": Advice("ip -4 -brief address"),
    "ip address": Advice(f"ip address add {OTHER}/32 dev eth0", after=f"ip address del {OTHER}/32 dev eth0"),
    "ip link": Advice("ip link set small mtu 1400", "ip link add small type bridge", "ip link del small"),
    "ip route": Advice(
        f"{SOURCE_OF} && ip route get 198.51.100.12 | grep 'src 198.51.100.11 '",
        f"ip address add {OTHER}/24 dev eth0; ip route replace 198.51.100.12 dev eth0 src {OTHER}",
        f"ip route del 198.51.100.12; ip address del {OTHER}/24 dev eth0",
    ),
    "iptables -S": Advice("iptables -S"),
    "journalctl -k": Advice("journalctl -k"),
    "journalctl -u": Advice("journalctl -u docker.service -u containerd.service"),
    "mount -o": Advice("mount -o remount,rw /run/small", SMALL, "umount /run/small; rmdir /run/small"),
    "nft list": Advice("nft list ruleset"),
    "rm -f": Advice(
        f"{CLONE} && ! grep 0123456789abcdef /etc/machine-id",
        "cp /etc/machine-id /run/kept; mkdir -p /var/lib/dbus; rm -f /var/lib/dbus/machine-id; "
        "echo 0123456789abcdef0123456789abcdef | tee /etc/machine-id >/var/lib/dbus/machine-id",
        "cat /run/kept >/etc/machine-id",
    ),
    "ss -lntp": Advice("ss -lntp 'sport = :2377'"),
    "ss -lntup": Advice("ss -lntup sport = :2379"),
    "systemctl daemon-reload": Advice("systemctl daemon-reload"),
    "systemctl restart": Advice("systemctl restart docker"),
    "systemctl start": Advice("systemctl start etcd.service"),
    "systemctl status": Advice("systemctl status etcd.service"),
    "systemctl stop": Advice("systemctl stop etcd.service", after="systemctl start etcd.service"),
}
#: Parts of the commands above.
PARTS = {"ip -o": "ip route", "sed": "ip route", "systemd-machine-id-setup": "rm -f"}

#: On a lab's first host after a `docker swarm init`.
IN_A_SWARM = {
    "docker node ls": Advice("docker node ls"),
    "docker swarm update": Advice("docker swarm update --autolock=false"),
    "docker swarm leave --force": Advice("docker swarm leave --force"),
}

#: What is run on the controller, in a folder with a key and a file known_hosts.
ON_THE_CONTROLLER = {
    "ls -l": "ls -l known_hosts",
    "nc -vz": "nc -vz 127.0.0.1 $PORT",
    "ssh -G": "ssh -G host.example",
    "ssh-add": "ssh-agent sh -c 'ssh-add ./key'",
    "ssh-keygen -f": "ssh-keygen -f ./known_hosts -R '[host.example]:2222'",
}


def advised() -> Iterator[str]:
    """Yield how each command in the project's messages begins."""
    for path in sorted(SOURCE.rglob("*.py")):
        if "lab" in path.relative_to(SOURCE).parts:
            continue
        for line in strings(ast.parse(path.read_text())):
            for found in COMMAND.finditer(line):
                yield found["program"] + found["verb"] + found["options"]


def strings(tree: ast.AST) -> Iterator[str]:
    """Yield every string of one line, but for docstrings; with {} for what is filled in."""
    nodes = list(ast.walk(tree))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    pieces = {id(piece) for node in nodes if isinstance(node, ast.JoinedStr) for piece in node.values}
    for node in nodes:
        if id(node) in docstrings | pieces:
            continue
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(
            (part.value if isinstance(part.value, str) else "") if isinstance(part, ast.Constant) else "{}"
            for part in parts
            if isinstance(node, ast.Constant | ast.JoinedStr)
        )
        if "\n" not in text.strip():
            yield text
