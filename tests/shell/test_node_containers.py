"""What containers should have, from files that Docker 20.10, 26.1 and 28 wrote on hosts of the lab; and its record."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from node_shell import SHELLS

from provision.docker.containers import SCRIPT, Attachment, Container, parse, read
from provision.node import library

FILES = Path(__file__).with_name("docker_files")
DEMO = "1146fc5eb5072907510552d2274d2659ffeee55347337e343eea57438e01e014"
SHAPES = {
    "20.10": {
        "ali": (True, "unless-stopped", Attachment("demo", "10.99.0.5", aliases=("web", "db"))),
        "fix": (True, "on-failure", Attachment("demo", "10.99.0.200", fixed=True)),
        "stpd": (False, "no", Attachment("demo", aliases=("sd",))),
        "crtf": (False, "no", Attachment("demo", "10.99.0.203", fixed=True, aliases=("cf",))),
    },
    "26.1": {
        "ali": (True, "unless-stopped", Attachment("demo", "10.99.0.7", aliases=("web", "db"))),
        "fix": (True, "on-failure", Attachment("demo", "10.99.0.200", fixed=True)),
        "stpd": (False, "no", Attachment("demo", aliases=("sd",))),
    },
    "28": {
        "cdyn": (True, "always", Attachment("demo", "10.99.0.18", aliases=("late2",))),
        "stpf": (False, "no", Attachment("demo", "10.99.0.202", fixed=True, aliases=("sf",))),
    },
}

#: Docker: its folder and its networks are in files beside it; without these files it does not answer.
DOCKER = """#!/bin/sh
here=${0%/*}
echo "$*" >>"$here/asked"
case $1 in
info) cat "$here/root" ;;
network) cat "$here/networks" ;;
esac 2>/dev/null
"""


class Node:
    """A shell with a folder of Docker and a state folder of its own."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self.command, self.folder = command, folder
        self.root, self.state, self.asked = folder / "docker-root", folder / "state", folder / "asked"
        self.state.mkdir()
        self.asked.touch()
        for name, content in (("docker", DOCKER), ("systemctl", '#!/bin/sh\n! [ -e "${0%/*}/stopping" ]\n')):
            (folder / name).write_text(content)
            (folder / name).chmod(0o755)
        (folder / "root").write_text(f"{self.root}\n")
        (folder / "networks").write_text("")
        (folder / "docker.pid").write_text(str(os.getpid()))
        # Each shell runs with the awk of its kind of host.
        self.own = 'awk() { busybox awk "$@"; }\n' if command[0] == "busybox" else ""

    def holds(self, version: str) -> None:
        """Give Docker the containers of this version."""
        shutil.copytree(FILES / version, self.root / "containers")

    def config(self, name: str) -> Path:
        """Return the file of a container."""
        return next(path for path in self.root.glob("*/*/config.v2.json") if f'"Name":"/{name}"' in path.read_text())

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace a container's file as Docker does."""
        path = self.config(name)
        assert before in path.read_text()
        path.with_suffix(".new").write_text(path.read_text().replace(before, after))
        path.with_suffix(".new").replace(path)

    def run(self, script: str, text: str = "") -> str:
        """Return what a script prints after the functions. It must print no error message."""
        text = text or library("containers")
        script = f"{text}\n{self.own}PATH={self.folder}:$PATH\npidfile={self.folder}/docker.pid\n{script}\n"
        environment = {"OVERLAY_STATE": str(self.state), "OVERLAY_RUN": str(self.folder)}
        command = ["timeout", "60", *self.command]
        done = subprocess.run(command, input=script, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def record(self) -> dict[str, Container]:
        """Start the program, look once, and return what is recorded then."""
        self.run("record_containers")
        return self.recorded()

    def recorded(self) -> dict[str, Container]:
        path = self.state / "containers"
        return {one.name: one for one in parse("node1", path.read_text())} if path.exists() else {}


@pytest.fixture(params=SHELLS)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(request.param, tmp_path)


def shapes(containers: dict[str, Container]) -> dict[str, tuple[bool, str, Attachment]]:
    """Return what is compared: of the attachments, the one to demo."""
    demo = {name: next(on for on in one.attachments if on.network == "demo") for name, one in containers.items()}
    return {name: (one.runs, one.restart, demo[name]) for name, one in containers.items()}


@pytest.mark.parametrize("version", SHAPES)
def test_230_what_a_user_chose_is_told_from_what_docker_gave(node: Node, version: str) -> None:
    """An address that the swarm gave, an ID among the aliases, and a keeper of ours are not of the user's choice."""
    node.holds(version)
    text = node.run("print_containers")
    assert shapes({one.name: one for one in parse("node1", text)}) == SHAPES[version]
    assert not any(secret in text for secret in ("hunter2", "PASSWORD", "sleep", "evil"))


def test_231_a_container_that_docker_cannot_start_should_run_unless_its_user_has_stopped_it(node: Node) -> None:
    node.holds("20.10")
    for name in ("ali", "fix"):
        node.edit(name, '"Running":true', '"Running":false')
        node.edit(name, '"ExitCode":0', '"ExitCode":255')
    assert {name: one.runs for name, one in node.record().items()} | {"crtf": False} == {
        "ali": True,
        "fix": True,
        "stpd": False,
        "crtf": False,
    }
    node.edit("ali", '"HasBeenManuallyStopped":false', '"HasBeenManuallyStopped":true')
    node.edit("fix", '"ExitCode":255', '"ExitCode":0')
    found = node.record()
    assert (found["ali"].runs, found["fix"].runs) == (False, False)


def test_232_a_container_leaves_the_record_when_docker_has_removed_it_and_no_sooner(node: Node) -> None:
    node.holds("20.10")
    everything = node.record()
    assert shapes(everything) == SHAPES["20.10"]
    config = node.config("fix")
    config.write_text("")  # as after a power cut on a file system that loses it
    assert node.record() == everything
    node.root.rename(node.folder / "unmounted")
    assert node.record() == everything
    (node.folder / "unmounted").rename(node.root)
    shutil.rmtree(config.parent)
    (node.folder / "stopping").touch()
    assert node.record() == everything
    (node.folder / "docker.pid").write_text("")
    assert node.record() == everything
    (node.folder / "stopping").unlink()
    (node.folder / "docker.pid").write_text(str(os.getpid()))
    assert set(node.record()) == set(everything) - {"fix"}


def test_231_what_docker_does_while_it_stops_is_not_recorded(node: Node) -> None:
    node.holds("20.10")
    path, stopping = node.config("ali"), node.folder / "stopping"
    stop = f'sed -i \'s/"Running":true/"Running":false/; s/HasBeenStartedBefore/x/\' {path}; touch {stopping}'
    node.run(f"record_containers; {stop}; record_containers; record_containers")
    assert node.recorded()["ali"].runs
    stopping.unlink()
    assert not node.record()["ali"].runs


def test_233_a_network_that_docker_has_forgotten_stays_recorded_and_one_that_its_user_left_does_not(node: Node) -> None:
    node.holds("28")
    before = node.record()
    there = node.config("cdyn").read_text()
    begin = there.index('"demo":{')
    node.edit("cdyn", "," + there[begin : there.index("}}", begin) + 1], "")
    assert node.record() == before  # the network is none of Docker's
    (node.folder / "networks").unlink()
    node.edit("cdyn", "}", "} ")
    assert node.record() == before  # Docker does not answer
    (node.folder / "networks").write_text("68vu46w68kltcbr2lck4ad4em\n")
    node.edit("cdyn", "}", "} ")
    assert set(node.record()) == {"stpf"}


def test_234_a_container_keeps_its_last_address_while_it_is_down(node: Node) -> None:
    node.holds("20.10")
    node.record()
    node.edit("ali", '"IPAddress":"10.99.0.5"', '"IPAddress":""')
    (on,) = node.record()["ali"].attachments
    assert on == Attachment("demo", "10.99.0.5", aliases=("web", "db"))


def test_235_the_record_is_held_while_a_verb_takes_containers_off_their_networks(node: Node) -> None:
    node.holds("20.10")
    before = node.record()
    shutil.rmtree(node.config("fix").parent)
    (node.state / "containers.held").touch()
    assert node.record() == before
    (node.state / "containers.held").unlink()
    assert "fix" not in node.record()


def test_the_record_is_its_owners_alone_and_whole(node: Node) -> None:
    node.holds("20.10")
    node.record()
    assert [path.name for path in node.state.iterdir()] == ["containers"]
    assert (node.state / "containers").stat().st_mode & 0o777 == 0o600


def test_nothing_is_recorded_where_the_state_folder_is_gone(node: Node) -> None:
    """A reset has removed it."""
    node.holds("20.10")
    node.state.rmdir()
    node.run("record_containers")
    assert not node.state.exists()


def test_docker_is_asked_once_and_its_files_are_read_after_changes_only(node: Node) -> None:
    node.holds("20.10")
    turn = """update_record() { echo read; true >"$containers_record"; }
        look() { echo look; record_containers; }
        look; look; look; look
    """
    change = f"touch -d 2038-01-01 {node.config('fix')}; look"
    assert node.run(turn + change).split() == ["look", "read", "look", "read", "look", "look", "look", "read"]
    assert [line.split()[0] for line in node.asked.read_text().splitlines()] == ["info"]


def test_a_file_that_has_not_changed_is_not_read_again(node: Node) -> None:
    node.holds("20.10")
    unchanged = node.config("fix")
    record = "record_containers; record_containers; record_containers"
    again = f"""{record}
    echo '{{"ID":"torn' >{unchanged} && touch -d 2001-01-01 {unchanged}
    touch -d 2038-01-01 {node.config("ali")}
    sed -i s/unless-stopped/always/ {node.config("ali").with_name("hostconfig.json")}
    {record}"""
    node.run(again)
    assert shapes(node.recorded()) == {**SHAPES["20.10"], "ali": (True, "always", SHAPES["20.10"]["ali"][2])}


def test_a_clock_that_was_set_back_hides_no_change(node: Node) -> None:
    node.holds("20.10")
    back = f"touch -d 2038-01-01 {node.folder}/mend.recorded; rm -r {node.config('fix').parent}"
    node.run(f"record_containers; record_containers; record_containers; {back}; record_containers")
    assert set(node.recorded()) == {"ali", "stpd", "crtf"}


def test_without_dockerd_docker_is_where_it_was_recorded(node: Node) -> None:
    node.holds("20.10")
    node.record()
    (node.folder / "root").unlink()
    assert node.run("docker_root").strip() == str(node.root)
    (node.state / "containers").unlink()
    assert node.run("docker_root").strip() == "/var/lib/docker"
    unit = f"ExecStart=/usr/sbin/dockerd --data-root={node.root}"
    assert node.run(f"systemctl() {{ [ $1 != cat ] || echo '{unit}'; }}\ndocker_root").strip() == str(node.root)


def test_236_the_controllers_question_is_answered_without_dockerd_and_without_its_folder(node: Node) -> None:
    node.holds("20.10")
    node.record()
    (node.folder / "root").unlink()
    text, _, calls = SCRIPT.partition("\nprint_containers &&")
    ask = f"print_containers &&{calls}"
    assert shapes({one.name: one for one in read("node1", node.run(ask, text))}) == SHAPES["20.10"]
    shutil.rmtree(node.root)
    assert shapes({one.name: one for one in read("node1", node.run(ask, text))}) == SHAPES["20.10"]


def test_230_one_container_without_a_hostconfig_hides_no_other(node: Node) -> None:
    node.holds("20.10")
    (node.config("stpd").parent / "hostconfig.json").unlink()
    assert {one.name for one in parse("node1", node.run("print_containers"))} == set(SHAPES["20.10"])


def test_236_containers_that_cannot_be_read_are_not_none(node: Node) -> None:
    node.holds("20.10")
    said = node.run("containers_of() { return 1; }; print_containers 2>&1 || echo failed")
    assert said.splitlines()[-2:] == [f"the files in {node.root}/containers cannot be read", "failed"]


def test_231_a_container_that_docker_removes_when_it_ends_is_told_from_others(node: Node) -> None:
    node.holds("20.10")
    path = node.config("ali").parent / "hostconfig.json"
    path.write_text(path.read_text().replace('"AutoRemove":false', '"AutoRemove":true'))
    text, _, calls = SCRIPT.partition("\nprint_containers &&")
    there = read("node1", node.run(f"print_containers &&{calls}", text))
    assert {one.name for one in there if one.temporary} == {"ali"}


def test_288_an_address_that_a_container_was_to_keep_is_not_of_its_users_choice(node: Node) -> None:
    node.holds("26.1")
    before = node.record()
    chosen = next(on for on in before["fix"].attachments if on.network == "demo")
    (node.state / "containers.kept").write_text(f"{before['fix'].identity}\tdemo\t{chosen.address}\n")
    node.edit("fix", "}", "} ")
    assert node.record()["fix"].attachments == (Attachment("demo", chosen.address, fixed=False),)
    (node.state / "containers.kept").write_text(f"{before['fix'].identity}\tdemo\t10.99.0.77\n")
    node.edit("fix", "}", "} ")
    assert node.record() == before
