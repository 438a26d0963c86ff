"""The suites of verify: they pass on two hosts, leave users' things alone, and each check fails during its fault."""

from __future__ import annotations

from dataclasses import dataclass, replace
from shlex import quote

import pytest
from conftest import Fab
from observe import document, run

from provision.checks import catalogue
from provision.checks.suites.docker import PACKET_RULES, PROBE_IMAGE
from provision.lab import Lab
from provision.planes.etcd.plane import PLANE

pytestmark = pytest.mark.lab

#: A user's own things: used and unused, running and stopped, with names much like ours.
USERS = """
docker volume create theirs && docker volume create --label overlay=theirs unused
docker network create theirs
docker run -d --name theirs --network theirs -v theirs:/data busybox sh -c 'echo kept >/data/text; sleep 6000'
docker create --name stopped busybox
docker tag busybox theirs:1 && docker tag busybox overlay-provision:theirs
docker tag busybox redis:theirs
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

#: Replaces runc with a script that changes the container's configuration before it starts the container.
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
    """A fault for a check: the scripts that cause and end it on a node; the check's evidence and place during it."""

    check: str
    breaks: str
    mends: str
    said: str
    where: str = "node1"
    node: str = "node1"


def ordered(check: str, sed: str, said: str, after: str = "") -> Fault:
    """Return a fault that changes a container's configuration, and may run a script after the container was created."""
    more = f"printf %s {quote(after)} >/run/spoil.after\n" if after else ""
    return Fault(f"docker/{check}", f"{more}printf %s {quote(sed)} | (\n{SPOIL}\n)", MEND, said)


def dropped(check: str, rule: str, said: str) -> Fault:
    return Fault(f"docker/{check}", f"iptables -I {rule}", f"iptables -D {rule}", said)


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
NO_VXLAN = "INPUT -p udp --dport 4789 -j DROP"
SECOND_PAGE_ALONE = f"""
if grep -q REDIS_HOST "$bundle/config.json"; then
    [ ! -e /run/spoil.seen ] || iptables -I {NO_VXLAN}
    touch /run/spoil.seen
fi
"""

FAULTS = (
    ordered("namespaces-of-its-own", 's#,{"type":"ipc"}##', "a container shares with the node: ipc"),
    dropped("bridge-network", "OUTPUT -o docker0 -p tcp -j DROP", "answers the node"),
    ordered("host-network", OWN_NETWORK, "the container is in the node's own network namespace"),
    ordered("no-network", "", "more than loopback", MORE_INTERFACES),
    ordered("network-of-another-container", OWN_NETWORK, "two containers share 127.0.0.1"),
    ordered("link-by-name", 's#,{"destination":"/etc/hosts"[^}]*}##', "a linked container answers by the link's name"),
    dropped("port-published", "DOCKER-USER -p tcp --dport 8080 -j DROP", "node2 reaches 198.51.100.11"),
    Fault(
        "docker/port-published",
        "iptables -P FORWARD ACCEPT; iptables -t nat -I PREROUTING -p tcp --dport 8081 -j DNAT --to 172.17.0.2",
        "iptables -P FORWARD DROP; iptables -t nat -D PREROUTING -p tcp --dport 8081 -j DNAT --to 172.17.0.2",
        "node2 reaches port 8081, which is not published",
    ),
    ordered("volume-outlives-its-container", 's#,{"destination":"/kept"[^}]*}##', "what the first had written"),
    ordered("prune-leaves-volumes-in-use", "", "the prune left the unused volume", IN_USE),
    ordered("environment-given-at-run", 's#"PROBE=[^"]*"#"OTHER=1"#', "has the variable given at its start"),
    ordered("bind-mount-changed-from-both-sides", 's#,{"destination":"/shared"[^}]*}##', "what the other wrote"),
    Fault(
        "docker/image-tagged-anew",
        "chattr +i /var/lib/docker/image/overlay2",
        "chattr -i /var/lib/docker/image/overlay2",
        "operation not permitted",
    ),
    Fault(
        "app/page-counts-up",
        f"iptables -I {NO_VXLAN}",
        f"iptables -D {NO_VXLAN}",
        "counts, in a Redis found by name: None",
        "node2 → node1",
    ),
    replace(
        ordered("", "", "a new container of the page goes on counting: 1, then None", SECOND_PAGE_ALONE),
        check="app/count-outlives-the-page",
        mends=f"{MEND}; rm /run/spoil.seen; iptables -D {NO_VXLAN}",
        where="node2 → node1",
        node="node2",
    ),
)


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab) -> Lab:
    document(fab(lab, "provision", "--json"))
    return lab


@pytest.fixture(scope="module")
def seen(cluster: Lab) -> dict[str, str]:
    """The user's things on each node, listed before any verify."""
    for node in cluster.nodes:
        run(cluster, node.name, f"set -eu\n{USERS}")
    return listed(cluster)


def listed(lab: Lab) -> dict[str, str]:
    return {node.name: run(lab, node.name, LIST) for node in lab.nodes}


def test_every_suite_is_green_and_a_users_things_are_untouched(cluster: Lab, fab: Fab, seen: dict[str, str]) -> None:
    report = document(fab(cluster, "verify", "--json"))
    checks = {outcome["check"] for outcome in report["outcomes"]} - {"plan/nothing-pending"}
    print(f"{len(checks)} checks, {len(report['outcomes'])} outcomes; seconds: {report['seconds']}")
    assert checks == {str(check) for check in catalogue.of_verify(PLANE)}
    assert {outcome["status"] for outcome in report["outcomes"]} == {"passed"}
    assert listed(cluster) == seen


def test_what_a_killed_run_left_is_removed_and_told(cluster: Lab, fab: Fab, seen: dict[str, str]) -> None:
    label = "--label overlay-provision.run=dead"
    made = {
        "container left": f"docker run -d --name left {label} -v overlay-provision-run-dead-1:/kept busybox sleep 6000",
        "volume overlay-provision-run-dead-1": "docker volume create overlay-provision-run-dead-1",
        "network left": f"docker network create {label} left",
        "image overlay-provision-run:dead": "docker tag busybox overlay-provision-run:dead",
        "image overlay-provision-run:dead-1": "docker tag busybox overlay-provision-run:dead-1",
        "folder /run/overlay-provision.run-dead": "mkdir /run/overlay-provision.run-dead",
    }
    run(cluster, "node1", "\n".join(("set -e", *reversed(made.values()))))
    outcomes = document(fab(cluster, "verify", "--json", "--only", "^docker/image"))["outcomes"]
    (told,) = [outcome for outcome in outcomes if outcome["check"] == "docker/leftovers"]
    what, _, names = told["evidence"].partition(": ")
    assert (told["where"], what) == ("node1", "removed what killed runs had left")
    assert set(names.split(", ")) == made.keys()
    assert listed(cluster) == seen


def test_without_images_the_counter_is_not_tried(cluster: Lab, fab: Fab) -> None:
    without = cluster.folder / "without.yml"
    without.write_text(cluster.inventory.read_text().partition("app:\n")[0])
    outcomes = document(fab(cluster, "verify", "--json", "--only", "^app/", inventory=without))["outcomes"]
    assert {(one["status"], one["evidence"]) for one in outcomes if one["check"].startswith("app/")} == {
        ("warning", "not tried: the inventory names no images of the counter")
    }


def test_every_check_of_docker_and_app_has_a_fault() -> None:
    checks = {str(check) for check in catalogue.of_verify(PLANE) if check.suite in ("docker", "app")}
    assert {fault.check for fault in FAULTS} == checks - {
        PROBE_IMAGE,
        PACKET_RULES,
    }  # their faults are in test_195 and test_193


#: The check that takes a minute and a half to give up.
SLOW = "app/page-counts-up"


@pytest.mark.parametrize(
    "fault",
    [pytest.param(one, id=one.check, marks=pytest.mark.whole if one.check == SLOW else ()) for one in FAULTS],
)
def test_a_fault_turns_its_check_red_there_and_leaves_nothing(
    cluster: Lab, fab: Fab, seen: dict[str, str], fault: Fault
) -> None:
    run(cluster, fault.node, fault.breaks)
    try:
        report = document(fab(cluster, "verify", "--json", "--only", f"^{fault.check}$"), 5)
    finally:
        run(cluster, fault.node, fault.mends)
    (bad,) = [outcome for outcome in report["outcomes"] if outcome["status"] == "failed"]
    assert (bad["check"], bad["where"]) == (fault.check, fault.where)
    assert fault.said in bad["evidence"]
    assert listed(cluster) == seen
