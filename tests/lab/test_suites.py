"""verify's suites: green on two hosts, nothing of a user's touched, and each check red by a fault made for it."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

import pytest
from conftest import Fab
from observe import document, run

from provision.checks import verify
from provision.lab import Lab

pytestmark = pytest.mark.lab

#: What a user has beside us: in use and not in use, running and stopped, named much like ours.
USERS = """
docker volume create theirs && docker volume create --label overlay=theirs unused
docker network create theirs
docker run -d --name theirs --network theirs -v theirs:/data busybox sh -c 'echo kept >/data/text; sleep 600'
docker create --name stopped busybox
docker tag busybox theirs:1 && docker tag busybox overlay-provision:theirs
printf 'FROM busybox\\nENV theirs=1\\n' | docker build -q -
mkdir -p /run/overlay-provision.theirs
"""
LIST = """
docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.State}} {{.Mounts}} {{.Networks}}' | sort
docker volume ls | sort
docker network ls --no-trunc | sort
docker images -a --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort
cat /var/lib/docker/volumes/theirs/_data/text
ls -d /run/overlay-provision.*
"""

#: runc with a spoilt order: what it starts is not what Docker, and who asked Docker, wanted.
SPOIL = r"""
set -eu
cat >/run/spoil.sed
cat >/run/runc <<'EOF'
#!/bin/sh
bundle= pid_file= previous=
for word; do
    case $previous in --bundle) bundle=$word ;; --pid-file) pid_file=$word ;; esac
    previous=$word
done
[ -z "$bundle" ] || sed -i -f /run/spoil.sed "$bundle/config.json"
/usr/sbin/runc.real "$@" || exit
[ -z "$bundle" ] || [ ! -f /run/spoil.after ] || . /run/spoil.after
exit 0
EOF
chmod 755 /run/runc
cp /usr/sbin/runc /usr/sbin/runc.real
mv /run/runc /usr/sbin/runc
"""
MEND = "mv /usr/sbin/runc.real /usr/sbin/runc; rm -f /run/spoil.after"


@dataclass(frozen=True)
class Fault:
    """How a check is made red on node1: what breaks it, what mends it, and what the check then says."""

    check: str
    breaks: str
    mends: str
    said: str


def ordered(check: str, sed: str, said: str, after: str = "") -> Fault:
    """A fault by a spoilt order, and perhaps by what happens when a container was made."""
    more = f"printf %s {quote(after)} >/run/spoil.after\n" if after else ""
    return Fault(check, f"{more}printf %s {quote(sed)} | (\n{SPOIL}\n)", MEND, said)


def dropped(check: str, rule: str, said: str) -> Fault:
    return Fault(check, f"iptables -I {rule}", f"iptables -D {rule}", said)


OWN_NETWORK = 's#"type":"network","path":"[^"]*"#"type":"network"#'
MORE_INTERFACES = """
nsenter -t "$(cat "$pid_file")" -n sh -c '
ip link add more type veth peer name other && ip address add 192.0.2.1/24 dev more'
"""
IN_USE = """
grep -q '"/kept"' "$bundle/config.json" && for volume in $(docker volume ls -q -f label=overlay-provision.prune); do
    docker run -d --rm -v "$volume:/more" busybox sleep 5 >/dev/null
done
"""

FAULTS = (
    ordered("namespaces-of-its-own", 's#,{"type":"ipc"}##', "a container shares with the node: ipc"),
    dropped("bridge-network", "OUTPUT -o docker0 -p tcp -j DROP", "answers the node"),
    ordered("host-network", OWN_NETWORK, "it is in the node's own network namespace"),
    ordered("no-network", "", "more than loopback", MORE_INTERFACES),
    ordered("network-of-another-container", OWN_NETWORK, "two share 127.0.0.1"),
    ordered("link-by-name", 's#,{"destination":"/etc/hosts"[^}]*}##', "a linked container answers by the name"),
    dropped("port-published", "DOCKER-USER -p tcp --dport 8080 -j DROP", "node2 reaches 198.51.100.11"),
    Fault(
        "port-published",
        "iptables -P FORWARD ACCEPT; iptables -t nat -I PREROUTING -p tcp --dport 8081 -j DNAT --to 172.17.0.2",
        "iptables -P FORWARD DROP; iptables -t nat -D PREROUTING -p tcp --dport 8081 -j DNAT --to 172.17.0.2",
        "node2 reaches port 8081, which is not published",
    ),
    ordered("volume-outlives-its-container", 's#,{"destination":"/kept"[^}]*}##', "what the first had written"),
    ordered("prune-leaves-volumes-in-use", "", "the one that nobody uses is left", IN_USE),
    ordered("environment-given-at-run", 's#"PROBE=[^"]*"#"OTHER=1"#', "a variable given at run was seen inside"),
    ordered("bind-mount-changed-from-both-sides", 's#,{"destination":"/shared"[^}]*}##', "what the other wrote"),
    Fault(
        "image-tagged-anew",
        "chattr +i /var/lib/docker/image/overlay2",
        "chattr -i /var/lib/docker/image/overlay2",
        "operation not permitted",
    ),
)


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab) -> Lab:
    document(fab(lab, "provision", "--json"))
    return lab


@pytest.fixture(scope="module")
def seen(cluster: Lab) -> dict[str, str]:
    """A user's things on each node, as listed before any verify."""
    for node in cluster.nodes:
        run(cluster, node.name, f"set -eu\n{USERS}")
    return listed(cluster)


def listed(lab: Lab) -> dict[str, str]:
    return {node.name: run(lab, node.name, LIST) for node in lab.nodes}


def test_every_suite_is_green_and_a_users_things_are_untouched(cluster: Lab, fab: Fab, seen: dict[str, str]) -> None:
    report = document(fab(cluster, "verify", "--json"))
    checks = {outcome["check"] for outcome in report["outcomes"]} - {"plan/nothing-pending"}
    print(f"{len(checks)} checks, {len(report['outcomes'])} outcomes; seconds: {report['seconds']}")
    assert checks == {str(check) for check in verify.CHECKS}
    assert {outcome["status"] for outcome in report["outcomes"]} == {"passed"}
    assert listed(cluster) == seen


def test_what_a_killed_run_left_is_removed_and_told(cluster: Lab, fab: Fab, seen: dict[str, str]) -> None:
    label = "--label overlay-provision.run=dead"
    made = {
        "container left": f"docker run -d --name left {label} -v left:/kept busybox sleep 600",
        "volume left": f"docker volume create {label} left",
        "network left": f"docker network create {label} left",
        "image overlay-provision-run:dead": "docker tag busybox overlay-provision-run:dead",
        "folder /run/overlay-provision.run-dead": "mkdir /run/overlay-provision.run-dead",
    }
    run(cluster, "node1", "\n".join(("set -e", *reversed(made.values()))))
    outcomes = document(fab(cluster, "verify", "--json", "--only", "^docker/image"))["outcomes"]
    (told,) = [outcome for outcome in outcomes if outcome["check"] == "docker/leftovers"]
    assert (told["where"], told["evidence"]) == ("node1", f"removed what killed runs had left: {', '.join(made)}")
    assert listed(cluster) == seen


def test_every_check_of_docker_has_a_fault() -> None:
    assert {fault.check for fault in FAULTS} == {check.name for check in verify.CHECKS if check.suite == "docker"}


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.check for fault in FAULTS])
def test_a_fault_turns_its_check_red_there_and_leaves_nothing(
    cluster: Lab, fab: Fab, seen: dict[str, str], fault: Fault
) -> None:
    run(cluster, "node1", fault.breaks)
    try:
        report = document(fab(cluster, "verify", "--json", "--only", f"^docker/{fault.check}$"), 5)
    finally:
        run(cluster, "node1", fault.mends)
    (bad,) = [outcome for outcome in report["outcomes"] if outcome["status"] == "failed"]
    assert (bad["check"], bad["where"]) == (f"docker/{fault.check}", "node1")
    assert fault.said in bad["evidence"]
    assert listed(cluster) == seen
