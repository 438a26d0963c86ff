"""Row 87: during runs of all verbs, a password and every key are searched in processes and in files."""

from __future__ import annotations

import os
import secrets
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import HERE, MakeLab
from observe import run
from watching import Search, Seen, Watch, typed, words_of

from provision import lab as labs
from provision.lab import Lab

pytestmark = pytest.mark.lab

#: The folders of a node that are written to, without those that only hold the system's packages.
FOLDERS = ("dev/shm", "etc", "home", "opt", "root", "run", "srv", "tmp", "usr/local", "var")
#: The files in which a node has the keys of its own leaves. No other key may be on a node.
KEPT = {
    "etcd-peer/{}-peer": "etc/etcd/pki/peer.key",
    "etcd-client/{}-server": "etc/etcd/pki/server.key",
    "etcd-client/{}-docker": "etc/docker/overlay/store.key",
    "docker/{}-server": "etc/docker/overlay/server.key",
}
#: Replaces mv: it fails for every key, so that no key gets its final name.
NO_KEY = '#!/bin/sh\ncase "$*" in *.key) echo no room for a key >&2; exit 1 ;; esac\nexec /usr/bin/mv "$@"\n'
MV = "/usr/local/sbin/mv"
#: Words that are searched besides the keys. Those that the test plants must be found.
WORDS = ("password", "wrong password", "planted as an argument", "planted in an environment", "planted in a journal")
REPORTS = {"html": "html", "bundle": "tar.gz", "junit": "xml"}
REPORTED = ("crashed", "failed", "provision", "verify")


@dataclass(frozen=True)
class Story:
    """All runs of an operator on a lab, their output, and what was seen on the nodes during them."""

    lab: Lab
    folder: Path
    words: dict[str, str] = field(default_factory=lambda: {name: f"canary-{secrets.token_hex(12)}" for name in WORDS})
    nodes: dict[str, dict[str, set[Seen]]] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, Path]:
        """Return every private key on the controller, by its name."""
        base = self.lab.folder / ".overlay" / self.lab.name
        return {str(path.relative_to(base).with_suffix("")): path for path in base.glob("*/*.key")}

    def search(self) -> Search:
        known = {name: words_of(path.read_bytes()) for name, path in self.keys.items()}
        words = {name: (text.encode(),) for name, text in self.words.items()}
        return Search.of(known | words, self.folder / "words")

    def fab(self, name: str, *words: str, answer: str = "password", at: tuple[str, ...] = ()) -> int:
        """Run a verb. All its output is in `told/NAME`, the files of its bundle included."""
        told = self.folder / "told" / name
        told.mkdir(parents=True)
        own = {"HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp")}
        for path in own.values():
            Path(path).mkdir(exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        fab = (
            (sys.executable, str(HERE / "interposed.py"), *at) if at else (str(Path(sys.executable).with_name("fab")),)
        )
        command = (*fab, "-i", str(self.lab.inventory), "--prompt-for-sudo-password", *words)
        if name in REPORTED:
            command = (*command, "--json", *(f"--{kind}={told}/report.{end}" for kind, end in REPORTS.items()))
        code = typed(self.words[answer], command, told, environment | own)
        for bundle in told.glob("*.tar.gz"):
            with tarfile.open(bundle) as tar:
                tar.extractall(told, filter="data")
        return code

    def look(self, moment: str) -> None:
        """Search every node for all secrets, without the planted word, which is in its journal."""
        search = self.search()
        for node in self.lab.nodes:
            found = search.below(Path(f"/proc/{node.first_process}/root"), *FOLDERS)
            seen = {one for one in found if not one.secret.startswith("planted")}
            self.nodes.setdefault(moment, {})[node.name] = seen


@pytest.fixture(scope="module")
def story(make_lab: MakeLab, tmp_path_factory: pytest.TempPathFactory) -> Story:
    lab = make_lab(2, ops=True)
    story = Story(lab, tmp_path_factory.mktemp("story"))
    for node in lab.nodes:
        assert labs.execute(lab.name, node.name, ["chpasswd"], input=f"ops:{story.words['password']}\n").returncode == 0
    with Watch() as watch:
        plant(story, watch)
        assert story.fab("refused", "plan", answer="wrong password") == 3
        at = ("controller: phase pki", "after", "false")
        assert story.fab("crashed", "provision", at=at) == 1
        labs.execute(lab.name, "node1", ["sh", "-c", f"cat >{MV}; chmod +x {MV}"], input=NO_KEY)
        assert story.fab("failed", "provision") == 4
        story.look("failed")
        run(lab, "node1", f"rm {MV}")
        assert story.fab("provision", "provision") == 0
        assert story.fab("verify", "verify") == 0
        story.look("in use")
        assert story.fab("reset", "reset", "--yes", "--json") == 0
        story.look("reset")
    for node in lab.nodes:
        journal = labs.execute(lab.name, node.name, ["journalctl", "--output=export", "--no-pager"]).stdout
        (story.folder / "told" / f"journal of {node.name}").write_text(journal)
    (story.folder / "told" / "given").write_bytes(b"\n".join(watch.given))
    print(f"{watch.started} programs were started meanwhile, {watch.missed} ended before they could be looked at")
    return story


def plant(story: Story, watch: Watch) -> None:
    """Plant words where no secret should be, to show that the search finds them there."""
    argument, environment, journal = (story.words[name] for name in WORDS if name.startswith("planted"))
    while not (watch.has(argument) and watch.has(environment)):
        labs.execute(story.lab.name, "node2", ["sh"], input=f"/bin/true {argument}; WORD={environment} /bin/true")
    labs.execute(story.lab.name, "node2", ["sh"], input=f"echo {journal} | systemd-cat")


def test_87_no_process_is_given_a_secret(story: Story) -> None:
    given = {seen.secret for seen in story.search().below(story.folder / "told") if seen.path == "given"}
    assert given == {"planted as an argument", "planted in an environment"}


def test_87_no_output_report_bundle_or_journal_has_a_secret(story: Story) -> None:
    told = {seen for seen in story.search().below(story.folder / "told") if seen.path != "given"}
    assert told == {Seen("planted in a journal", "journal of node2")}
    # The runs reported these events: a crash, a failed step, and details.
    assert "Traceback" in (story.folder / "told/crashed/err").read_text()
    assert "cannot put /etc/etcd/pki/peer.key in place" in (story.folder / "told/failed/out").read_text()
    for name in ("failed", "provision", "verify"):
        assert len(list((story.folder / "told" / name).glob("bundle-*/node*/*/*"))) > 20


def test_87_a_key_is_on_its_own_node_alone_and_there_in_one_place_and_86_an_authoritys_on_none(story: Story) -> None:
    for node in story.lab.nodes:
        kept = {Seen(key.format(node.name), path) for key, path in KEPT.items()}
        assert story.nodes["in use"][node.name] == kept
        assert story.nodes["failed"][node.name] <= kept


def test_87_reset_leaves_no_key_on_a_node(story: Story) -> None:
    assert story.nodes["reset"] == {node.name: set() for node in story.lab.nodes}


def test_87_the_controller_keeps_a_key_in_one_file_and_the_password_in_none(story: Story) -> None:
    search, base = story.search(), Path(".overlay") / story.lab.name
    assert search.below(story.lab.folder) == {Seen(name, f"{base / name}.key") for name in story.keys}
    assert len(story.keys) == 3 + 2 * len(KEPT) + 2
    for folder in ("home", "tmp"):
        assert search.below(story.folder / folder) == set()
