"""The question as a script, and its answer as a value."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from base64 import b64encode
from dataclasses import fields
from typing import Any

import pytest

from provision.facts import (
    Container,
    Facts,
    Listener,
    PathFact,
    Question,
    Unit,
    docker_answers,
    docker_script,
    join,
    parse,
    script,
    with_marked,
    with_policies,
)
from provision.facts.run_labels import CONTAINERS as CONTAINERS_OF_RUNS
from provision.facts.run_labels import EVERY_CONTAINER
from provision.facts.run_labels import IMAGES as IMAGES_OF_RUNS
from provision.planes.etcd import membership
from provision.planes.etcd.node import functions

STRANGE = '/it\'s a "path" $(touch /x); `id`'
EVERYTHING = Question(
    paths=("/etc/a", STRANGE),
    hashed=(STRANGE,),
    shown=(STRANGE,),
    units=("etcd.service", STRANGE),
    users=("etcd", STRANGE),
    ports=(2379, 4789),
    images=("registry:5000/busybox:latest", STRANGE),
    large=(STRANGE,),
    tables=(STRANGE,),
    neighbours=(STRANGE,),
    spaces=(STRANGE,),
    docker=(STRANGE,),
    functions=(functions("facts"),),
    calls=("fact_store_data",),
    slow_calls=("fact_members",),
)


def row(*fields: str) -> str:
    return "\t".join(fields) + "\n"


def encoded(text: str | bytes) -> str:
    return b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def packed(**files: str) -> str:
    """An archive as fact_texts sends it; `__` stands for the `/` of a name."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return encoded(data.getvalue())


def response(body: Any, status: str = "200 OK") -> bytes:
    content = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def docker(answers: bytes, *paths: str) -> str:
    return row("docker", encoded(answers), *paths)


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=" ".join)
@pytest.mark.parametrize("question", [Question(), EVERYTHING], ids=["nothing", "everything"])
def test_the_script_is_valid(shell: list[str], question: Question) -> None:
    for text in (script(question), docker_script(("/containers/json", STRANGE))):
        done = subprocess.run([*shell, "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=" ".join)
def test_strange_names_are_only_words_of_the_script(shell: list[str]) -> None:
    (call,) = (line for line in script(EVERYTHING).splitlines() if line.startswith("fact_paths "))
    shown = f"set -- {call}\nshift\nprintf '%s\\n' \"$@\""
    done = subprocess.run([*shell, "-c", shown], text=True, capture_output=True, check=True)
    assert done.stdout.splitlines() == ["/etc/a", STRANGE]


def test_a_question_asks_only_what_it_is_about() -> None:
    words = [line.partition(" ")[0] for line in script(Question(large=("/a",))).splitlines()]
    assert "fact_large" in words
    assert not {"fact_paths", "fact_texts", "fact_ports", "fact_units"} & set(words)


def test_joined_questions_ask_each_thing_once_in_order() -> None:
    joined = join([Question(paths=("/a", "/b"), ports=(1,)), Question(paths=("/b", "/c"), users=("etcd",))])
    assert joined == Question(paths=("/a", "/b", "/c"), ports=(1,), users=("etcd",))
    assert join([]) == Question()


def test_joining_loses_no_kind_of_question() -> None:
    assert join([EVERYTHING]) == EVERYTHING
    assert all(getattr(EVERYTHING, field.name) for field in fields(Question))


def test_no_answer_is_no_facts() -> None:
    assert parse("") == Facts(values={"dockerd": ""})


def test_lines_it_does_not_know_are_passed_over() -> None:
    known = row("value", "init", "systemd")
    noise = "\nWelcome to this host!\n\t\nvalue\nvalue\tinit\nsurprise\ta\tb\n"
    assert parse(noise + known + noise) == parse(known)


@pytest.mark.parametrize(
    ("answer", "name", "value"),
    [
        (row("value", "uname", "node1 6.1.0-18-amd64 x86_64"), "hostname", "node1"),
        (row("value", "uname", "node1 6.1.0-18-amd64 x86_64"), "kernel", "6.1.0-18-amd64"),
        (row("value", "uname", "node1 6.1.0-18-amd64 x86_64"), "machine", "x86_64"),
        (
            row("value", "routes", "default via 192.0.2.1;10.0.0.0/8 dev a;"),
            "routes",
            "default via 192.0.2.1;10.0.0.0/8 dev a;",
        ),
        (row("value", "docker-cli", ""), "docker-cli", ""),
        (row("dockerd", "/usr/sbin/dockerd", "Docker version 20.10.24"), "dockerd", "Docker version 20.10.24"),
        (row("value", "daemon-json", encoded('{"a":\t"é"}\n')), "daemon-json", '{"a":\t"é"}\n'),
        (row("value", "docker-unit", encoded("[Unit]\nExecStart=\n")), "docker-unit", "[Unit]\nExecStart=\n"),
        (row("value", "daemon-json", encoded(b"\xff{}")), "daemon-json", "\N{REPLACEMENT CHARACTER}{}"),
    ],
)
def test_values(answer: str, name: str, value: str) -> None:
    assert parse(answer).values[name] == value


def test_paths_have_their_hash_their_target_and_their_text() -> None:
    answer = (
        row("stat", "/etc/a b", "regular file", "640", "root:etcd")
        + row("stat", "/etc/empty", "regular empty file", "644", "root:root")
        + row("stat", "/tmp", "directory", "1777", "root:root")
        + row("stat", "/bin/etcd", "symbolic link", "777", "root:root")
        + row("stat", "/dev/fifo", "fifo", "600", "root:root")
        + row("link", "/bin/etcd", "/opt/etcd 1")
        + row("hash", "/etc/a b", "12ab")
        + row("texts", packed(**{"etc__a b": "one\nünë\n", "etc__empty": ""}))
    )
    assert parse(answer).paths == {
        "/etc/a b": PathFact("file", 0o640, "root:etcd", "12ab", text="one\nünë\n"),
        "/etc/empty": PathFact("file", 0o644, "root:root", text=""),
        "/tmp": PathFact("folder", 0o1777, "root:root"),
        "/bin/etcd": PathFact("link", 0o777, "root:root", target="/opt/etcd 1"),
        "/dev/fifo": PathFact("fifo", 0o600, "root:root"),
    }


def unit_rows(**properties: str) -> str:
    return "".join(row("unit", key, value) for key, value in properties.items())


def test_units_have_their_state_and_what_they_were_started_on() -> None:
    running = unit_rows(MainPID="42", Id="etcd.service", ActiveState="active", UnitFileState="enabled")
    absent = unit_rows(MainPID="0", Id="docker.service", ActiveState="inactive", UnitFileState="")
    inputs = row("input", "etcd.service", "/etc/etcd.env", "aa") + row("input", "etcd.service", "/a b", "bb")
    facts = parse(running + row("unit", "next") + absent + inputs)
    assert facts.unit("etcd.service") == Unit("active", "enabled", 42, {"/etc/etcd.env": "aa", "/a b": "bb"})
    assert facts.unit("docker.service") == Unit()
    assert facts.unit("never-asked.service") == Unit()


@pytest.mark.parametrize(
    ("restarts", "reload", "outdated"), [("1", "yes", True), ("0", "yes", False), ("1", "no", False)]
)
def test_331_a_unit_is_outdated_where_systemd_restarts_it_and_has_not_read_its_files(
    restarts: str, reload: str, outdated: bool
) -> None:
    rows = unit_rows(MainPID="42", Id="etcd.service", NRestarts=restarts, NeedDaemonReload=reload)
    assert parse(rows).unit("etcd.service").outdated is outdated


@pytest.mark.parametrize(
    ("state", "running"),
    [("active", True), ("activating", True), ("reloading", True), ("failed", False), ("deactivating", False)],
)
def test_a_unit_on_its_way_up_counts_as_running(state: str, running: bool) -> None:
    assert Unit(state, process=42).running is running


def test_listeners_and_users() -> None:
    answer = (
        row("port", "tcp", "192.0.2.1:2379", 'users:(("etcd",pid=7,fd=3))', "etcd.service")
        + row("port", "udp", "0.0.0.0:4789", "unknown")
        + row("port", "tcp", "[::]:7946", "unknown")
        + row("user", "etcd")
    )
    facts = parse(answer)
    assert facts.listeners == (
        Listener("tcp", "192.0.2.1", 2379, 'users:(("etcd",pid=7,fd=3))', "etcd.service"),
        Listener("udp", "0.0.0.0", 4789, "unknown"),
        Listener("tcp", "[::]", 7946, "unknown"),
    )
    assert facts.users == {"etcd"}


CONTAINERS = [
    {
        "Id": "f" * 64,
        "State": "running",
        "Names": ["/db/alias", "/web"],
        "NetworkSettings": {"Networks": {"bridge": {}, "demo": {}}},
    },
    {"Id": "0" * 64, "State": "paused", "Names": ["/held"], "NetworkSettings": {}},
    {"Id": "1" * 64, "State": "exited", "Names": ["/old"], "Labels": {"a": "b"}, "NetworkSettings": {}},
]
DEMO = {"Name": "demo", "Scope": "global"}
ASKED = ("/containers/json?all=true", "/images/gone/json", "/images/busybox:latest/json", "/networks")
ANSWERS = (
    response(CONTAINERS)
    + response({"message": "no such image"}, "404 Not Found")
    + response({"RepoTags": ["busybox:latest", "registry:5000/box:1"]})
    + response([DEMO])
)


def test_what_docker_says() -> None:
    facts = parse(docker(ANSWERS, *ASKED))
    assert facts.docker_answers
    assert facts.containers == (Container("f" * 64, "web", ("bridge", "demo")), Container("0" * 64, "held", ()))
    assert facts.stopped == (Container("1" * 64, "old", (), labels={"a": "b"}),)
    assert facts.every_container == (*facts.containers, *facts.stopped)
    assert facts.containers_known
    assert facts.networks == (DEMO,)
    assert facts.images == {"busybox", "registry:5000/box:1"}


def test_what_runs_made_is_known_by_its_mark() -> None:
    label = {"Labels": {"overlay-provision.run": "dead"}}
    answers = {
        CONTAINERS_OF_RUNS: [{"Id": "f" * 64, "Names": ["/left"], **label}],
        IMAGES_OF_RUNS: [
            {"RepoTags": ["overlay-provision-run:dead", "overlay-provision-run:dead-1", "busybox:latest"]}
        ],
        "/networks": [{"Name": "left", "Id": "1", **label}, {"Name": "demo", "Labels": None}, DEMO],
    }
    files = row("marked", "folder", "/run/overlay-provision.run-dead")
    files += row("marked", "volume", "overlay-provision-run-dead-1")
    facts = parse(docker(b"".join(map(response, answers.values())), *answers) + files)
    assert {(one.kind, one.name) for one in facts.marked} == {
        ("container", "left"),
        ("volume", "overlay-provision-run-dead-1"),
        ("network", "left"),
        ("image", "overlay-provision-run:dead"),
        ("image", "overlay-provision-run:dead-1"),
        ("folder", "/run/overlay-provision.run-dead"),
    }
    assert {one.run for one in facts.marked} == {"dead"}
    assert facts.images == set()


@pytest.mark.parametrize("names", [None, []])
@pytest.mark.parametrize("state", ["running", "exited"])
def test_330_a_container_that_docker_lists_after_its_removal_is_not_there(state: str, names: list[str] | None) -> None:
    removed = {"Id": "c" * 64, "State": state, "Names": names, "Labels": {"overlay-provision.run": "dead"}}
    there = removed | {"Id": "f" * 64, "Names": ["/web"]}
    asked = (EVERY_CONTAINER, CONTAINERS_OF_RUNS, "/networks")
    facts = parse(docker(response([removed, there]) * 2 + response([DEMO]), *asked))
    assert [one.name for one in facts.every_container] == ["web"]
    assert [one.name for one in facts.marked] == ["web"]


@pytest.mark.parametrize("asked", [CONTAINERS_OF_RUNS, IMAGES_OF_RUNS])
def test_what_is_only_asked_for_marks_hides_nothing_where_docker_says_no(asked: str) -> None:
    said = response({"message": "a plugin is gone"}, "500 Internal Server Error") + response([DEMO])
    facts = parse(docker(said, asked, "/networks"))
    assert (facts.docker_answers, facts.networks, facts.marked) == (True, (DEMO,), ())


def test_marks_asked_for_again_take_the_place_of_those_before_and_leave_folders() -> None:
    before = parse(row("marked", "folder", "/run/overlay-provision.run-dead"))
    network = {"Name": "left", "Id": "1", "Labels": {"overlay-provision.run": "gone"}}
    after = with_marked(before, docker(response([network]), "/networks"))
    assert {(one.kind, one.run) for one in after.marked} == {("folder", "dead"), ("network", "gone")}


def test_where_runs_made_nothing_nothing_is_marked() -> None:
    answers = {CONTAINERS_OF_RUNS: [], IMAGES_OF_RUNS: [], "/networks": [DEMO]}
    assert parse(docker(b"".join(map(response, answers.values())), *answers)).marked == ()


def test_the_answer_to_the_ping_is_nobodys() -> None:
    assert parse(docker(ANSWERS + response("OK"), *ASKED)) == parse(docker(ANSWERS, *ASKED))


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        response(CONTAINERS) + response({"message": "no"}, "500 Internal Server Error") * 3,
        b"junk\r\n",
    ],
    ids=["nothing", "an error", "no HTTP"],
)
def test_docker_that_answers_nothing_or_an_error_tells_nothing(answers: bytes) -> None:
    facts = parse(docker(answers, *ASKED))
    assert (facts.docker_answers, facts.containers, facts.networks, facts.images) == (False, (), (), frozenset())
    assert not facts.containers_known


def test_docker_that_is_slow_with_its_networks_tells_the_rest() -> None:
    facts = parse(docker(ANSWERS[:-5], *ASKED))
    assert (facts.docker_answers, facts.containers_known, facts.networks) == (False, True, ())
    assert (len(facts.containers), facts.images) == (2, {"busybox", "registry:5000/box:1"})


def test_restart_policies_come_by_container() -> None:
    facts = parse(docker(ANSWERS, *ASKED))
    inspected = {"Id": "f" * 64, "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}}}
    told = with_policies(facts, docker_answers(docker(response(inspected), "/containers/f/json")))
    assert [container.comes_back for container in told.containers] == [True, False]
    assert [container.comes_back for container in with_policies(told, {}).containers] == [False, False]


@pytest.mark.parametrize(
    ("answer", "members"),
    [
        ("", None),
        (row("answer", "members", ""), None),
        (row("answer", "members", encoded('{"members": [{"name": "node1"}]}')), ({"name": "node1"},)),
    ],
    ids=["not asked", "no member answers", "a list"],
)
def test_members(answer: str, members: tuple[dict[str, str], ...] | None) -> None:
    assert membership.listed(parse(answer)) == members
