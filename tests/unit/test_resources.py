"""Each kind of resource: absent, as it should be, each way of differing, and what changes it."""

from __future__ import annotations

import shlex
import subprocess
from base64 import b64decode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path as LocalPath

import pytest

from provision.core.plan import Action
from provision.facts import Container, Facts, PathFact, Question, Unit
from provision.planes.etcd.resources import Release
from provision.resources import UPLOADS, Difference, File, Folder, Image, Keeper, Link, Resource, Service, Upload, User

STRANGE = '/it\'s a "path" $(touch /x)'
OLD, NEW = b"old\nsame\n", b"new\nsame\n"


def hash_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def paths(**found: PathFact) -> Facts:
    """Facts of paths below /etc."""
    return Facts(paths={f"/etc/{name}": path for name, path in found.items()})


def file(content: bytes = NEW, mode: int = 0o644, owner: str = "root:root") -> PathFact:
    return PathFact("file", mode, owner, hash_of(content), text=content.decode())


FOLDER = Folder("/etc/a", 0o750, "root:etcd")
FILE = File("/etc/a", NEW)
SECRET = File("/etc/a", NEW, opaque=True)
HASHES = f"sha256 {hash_of(OLD)[:12]} → {hash_of(NEW)[:12]}"
UNMADE_HASHES = f"sha256 {hash_of(NEW)[:12]} → made by this run"
UNMADE = File("/etc/a", None, opaque=True)
ONCE = File("/etc/a", NEW, once=True)
WAITS = File("/etc/a", NEW, update_note="waits")
LINK = Link("/etc/a", "/opt/new")
SHOWN_NEW = "--- /etc/a\n+++ /etc/a (new)\n@@ -0,0 +1,2 @@\n+new\n+same\n"
SHOWN_CHANGED = "--- /etc/a\n+++ /etc/a (new)\n@@ -1,2 +1,2 @@\n-old\n+new\n same\n"

PATHS: list[tuple[str, Resource, Facts, Difference | None]] = [
    ("folder absent", FOLDER, Facts(), Difference("create", again="update")),
    ("folder right", FOLDER, paths(a=PathFact("folder", 0o750, "root:etcd")), None),
    (
        "folder of another mode",
        FOLDER,
        paths(a=PathFact("folder", 0o755, "root:etcd")),
        Difference("update", note="folder 0755 root:etcd → 0750 root:etcd"),
    ),
    (
        "folder of another owner",
        FOLDER,
        paths(a=PathFact("folder", 0o750, "ops:ops")),
        Difference("update", note="folder 0750 ops:ops → 0750 root:etcd"),
    ),
    (
        "a file where a folder should be",
        FOLDER,
        paths(a=PathFact("file", 0o750, "root:etcd")),
        Difference("update", note="file 0750 root:etcd → 0750 root:etcd"),
    ),
    ("file absent", FILE, Facts(), Difference("create", diff=SHOWN_NEW, again="update")),
    ("file right", FILE, paths(a=file()), None),
    ("file of other content", FILE, paths(a=file(OLD)), Difference("update", diff=SHOWN_CHANGED)),
    (
        "file of another mode",
        FILE,
        paths(a=file(mode=0o666)),
        Difference("update", note="0666 root:root → 0644 root:root"),
    ),
    (
        "file of another owner",
        FILE,
        paths(a=file(owner="ops:ops")),
        Difference("update", note="0644 ops:ops → 0644 root:root"),
    ),
    (
        "a link where a file should be",
        FILE,
        paths(a=PathFact("link", 0o777, "root:root")),
        Difference("create", SHOWN_NEW, again="update"),
    ),
    ("secret absent", SECRET, Facts(), Difference("create", note=f"sha256 none → {hash_of(NEW)[:12]}", again="update")),
    ("secret of other content", SECRET, paths(a=file(OLD)), Difference("update", note=HASHES)),
    (
        "secret open to all",
        replace(SECRET, mode=0o400),
        paths(a=file()),
        Difference("update", note="0644 root:root → 0400 root:root"),
    ),
    (
        "not made yet, and absent",
        UNMADE,
        Facts(),
        Difference("create", note="sha256 none → made by this run", again="update"),
    ),
    ("not made yet, and another there", UNMADE, paths(a=file()), Difference("update", note=UNMADE_HASHES)),
    ("once, and absent", ONCE, Facts(), Difference("create", diff=SHOWN_NEW, again="update")),
    ("once, and of other content", ONCE, paths(a=file(OLD)), None),
    (
        "once, and of another mode",
        ONCE,
        paths(a=file(OLD, 0o600)),
        Difference("update", note="0600 root:root → 0644 root:root"),
    ),
    ("a change that waits", WAITS, paths(a=file(OLD)), Difference("update", diff=SHOWN_CHANGED, note="waits")),
    ("nothing that waits", WAITS, Facts(), Difference("create", diff=SHOWN_NEW, again="update")),
    ("link absent", LINK, Facts(), Difference("create", note="→ /opt/new", again="update")),
    ("link right", LINK, paths(a=PathFact("link", 0o777, "root:root", target="/opt/new")), None),
    (
        "link to another",
        LINK,
        paths(a=PathFact("link", 0o777, "root:root", target="/opt/old")),
        Difference("update", note="/opt/old → /opt/new"),
    ),
    ("a file where a link should be", LINK, paths(a=file()), Difference("update", note="file → /opt/new")),
]


@pytest.mark.parametrize(
    ("resource", "facts", "expected"), [case[1:] for case in PATHS], ids=[case[0] for case in PATHS]
)
def test_paths(resource: Resource, facts: Facts, expected: Difference | None) -> None:
    assert resource.compare(facts) == expected


SERVICE = Service("a.service", (("/etc/a", frozenset({"1", "2"})), ("/etc/b", frozenset({"3"}))))
DAEMON = replace(SERVICE, stops_containers=True)
GOOD = {"/etc/a": "2", "/etc/b": "3", "/etc/more": "4"}
CONTAINERS = (
    Container("1", "web", (), "no"),
    Container("2", "kept", (), "on-failure"),
    Container("3", "overlay-keeper-demo-node1", (), "always"),
)


def runs(state: str = "active", enablement: str = "enabled", **inputs: str) -> Facts:
    started_on = {f"/etc/{name}": value for name, value in inputs.items()}
    unit = Unit(state, enablement, 1, inputs=started_on)
    return Facts(units={"a.service": unit}, containers=CONTAINERS)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(), Difference("start", again="restart")),
        (runs("failed", a="1", b="3"), Difference("start", again="restart")),
        (runs("inactive", "disabled"), Difference("start", again="restart")),
        (runs(a="1", b="3"), None),
        (runs(a="2", b="3", more="4"), None),
        (runs("activating", a="1", b="3"), None),
        (runs(enablement="disabled", a="1", b="3"), Difference("enable")),
        (runs(a="9", b="3"), Difference("restart", note="for a")),
        (runs(a="1"), Difference("restart", note="for b")),
        (runs(), Difference("restart", note="for a and 1 more")),
        (runs(enablement="disabled"), Difference("restart", note="for a and 1 more")),
    ],
)
def test_services(facts: Facts, expected: Difference | None) -> None:
    assert SERVICE.compare(facts) == expected


def test_331_a_service_that_restarts_with_files_that_were_changed_since_is_told_to_systemd() -> None:
    there = runs(a="1", b="3")
    loops = replace(there, units={"a.service": replace(there.unit("a.service"), outdated=True)})
    difference = SERVICE.compare(loops)
    assert difference == Difference("load", note="systemd restarts it, and has not read its changed files")
    assert SERVICE.apply(difference) == "enable_unit a.service"


def test_an_input_not_made_yet_restarts_whatever_runs() -> None:
    unmade = Service("a.service", (("/etc/a", File("/etc/a").fit),))
    assert unmade.compare(runs(a="1")) == Difference("restart", note="for a")


def test_a_restart_that_stops_containers_says_which_run_and_which_never_come_back() -> None:
    assert DAEMON.compare(runs()) == Difference(
        "restart",
        note="for a and 1 more; stops for about 2 s, up to 15 s if one ignores SIGTERM: web, kept",
        stops=("web",),
    )


@pytest.mark.parametrize(
    "values",
    [{"daemon-json": '{"live-restore": true}'}, {"docker-unit": "ExecStart=/usr/bin/dockerd --live-restore"}],
    ids=["daemon.json", "a flag"],
)
def test_with_live_restore_a_restart_stops_no_container(values: dict[str, str]) -> None:
    facts = replace(runs(), values=values)
    difference = DAEMON.compare(facts)
    assert difference is not None
    assert difference.stops == ()
    assert "running containers continue (live-restore): web, kept" in difference.note


RELEASE = Release("/opt/1", "3.5.30", LocalPath("/srv/a.tgz"), "top", (("etcd", "e"), ("etcdctl", "c")))
WHOLE = {
    "/opt/1": PathFact("folder", 0o755, "root:root"),
    "/opt/1/etcd": PathFact("file", 0o755, "root:root", "e"),
    "/opt/1/etcdctl": PathFact("file", 0o755, "root:root", "c"),
}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (WHOLE, None),
        ({}, Difference("create", note="in /opt/1")),
        ({"/opt/1": WHOLE["/opt/1"]}, Difference("update", note="in /opt/1")),
        ({**WHOLE, "/opt/1/etcd": PathFact("file", 0o755, "root:root", "x")}, Difference("update", note="in /opt/1")),
        ({**WHOLE, "/opt/1/etcd": PathFact("file", 0o644, "root:root", "e")}, Difference("update", note="in /opt/1")),
        ({**WHOLE, "/opt/1/etcdctl": PathFact("file", 0o755, "ops:ops", "c")}, Difference("update", note="in /opt/1")),
    ],
    ids=["whole", "absent", "binaries gone", "another binary", "not executable", "somebody else's"],
)
def test_releases(found: dict[str, PathFact], expected: Difference | None) -> None:
    assert RELEASE.compare(Facts(paths=found)) == expected


IMAGE = Image("busybox", LocalPath("/srv/it's box.tar"))
KEEPER = Keeper("overlay-keeper-demo-node1", "demo", "busybox")
MAKE = Difference("create", note="keeps network demo in use here")


@pytest.mark.parametrize(
    ("resource", "facts", "expected"),
    [
        (User("etcd", "/var/lib/etcd"), Facts(), Difference("create")),
        (User("etcd", "/var/lib/etcd"), Facts(users=frozenset({"etcd"})), None),
        (IMAGE, Facts(), Difference("load", note="from it's box.tar")),
        (IMAGE, Facts(images=frozenset({"busybox"})), None),
        (replace(IMAGE, image="busybox:latest"), Facts(images=frozenset({"busybox"})), None),
        (
            replace(IMAGE, image="busybox:1.36"),
            Facts(images=frozenset({"busybox"})),
            Difference("load", note="from it's box.tar"),
        ),
        (KEEPER, Facts(), MAKE),
        (KEEPER, Facts(containers=(Container("1", KEEPER.container, ("demo",)),)), None),
        (KEEPER, Facts(containers=(Container("1", KEEPER.container, ("bridge",)),)), MAKE),
        (KEEPER, Facts(containers=(Container("1", "web", ("demo",)),)), MAKE),
        (replace(KEEPER, anew=True), Facts(containers=(Container("1", KEEPER.container, ("demo",)),)), MAKE),
    ],
)
def test_users_images_and_keepers(resource: Resource, facts: Facts, expected: Difference | None) -> None:
    assert resource.compare(facts) == expected


@pytest.mark.parametrize(
    ("image", "asked"),
    [("busybox", "busybox:latest"), ("busybox:1", "busybox:1"), ("host:5000/box", "host:5000/box:latest")],
)
def test_an_image_is_asked_for_with_its_tag(image: str, asked: str) -> None:
    assert replace(IMAGE, image=image).question() == Question(images=(asked,))


def test_a_secrets_text_is_never_asked_for() -> None:
    assert SECRET.question() == Question(paths=("/etc/a",), hashed=("/etc/a",))
    assert FILE.question().shown == ("/etc/a",)


@pytest.mark.parametrize(
    ("resource", "action", "words"),
    [
        (Folder(STRANGE, 0o700, "a b"), "create", ["put_folder", STRANGE, "0700", "a b"]),
        (Link(STRANGE, STRANGE), "create", ["put_link", STRANGE, STRANGE]),
        (
            File(STRANGE, NEW, 0o40, once=True),
            "update",
            ["chown", "root:root", STRANGE, "&&", "chmod", "0040", STRANGE],
        ),
        (User(STRANGE, STRANGE), "create", ["put_user", STRANGE, STRANGE]),
        (Service(STRANGE, (), seconds=7), "restart", ["run_unit", "restart", STRANGE, "7"]),
        (Service(STRANGE, ()), "enable", ["systemctl", "enable", "-q", STRANGE]),
        (
            replace(RELEASE, folder=STRANGE, top=STRANGE),
            "create",
            ["put_release", f"{UPLOADS}/etcd.tar.gz", STRANGE, "e", "c", "3.5.30", STRANGE],
        ),
        (Keeper(STRANGE, STRANGE, STRANGE), "create", ["put_keeper", STRANGE, STRANGE, STRANGE]),
    ],
)
def test_what_changes_it_is_one_call_with_every_word_quoted(
    resource: Resource, action: Action, words: list[str]
) -> None:
    (*_, last) = resource.apply(Difference(action)).splitlines()  # functions may come before
    assert shlex.split(last) == words
    assert resource.remember() == "" or STRANGE in shlex.split(resource.remember())


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=" ".join)
@pytest.mark.parametrize("content", [b"", NEW, b"no end of line", b"'.'\n.\n$(id)\n" * 100, bytes(range(256))])
def test_a_files_content_reaches_its_function_unchanged(shell: list[str], content: bytes) -> None:
    text = File(STRANGE, content, 0o600, "a:b").apply(Difference("create"))
    told = "put_file() { printf '%s\\n' \"$@\" >&2; base64 -d; }\n"
    done = subprocess.run([*shell, "-c", f"{told}{text}"], capture_output=True, check=True)
    assert done.stdout == content
    assert done.stderr.decode().splitlines() == [STRANGE, "0600", "a:b", hash_of(content)]
    assert b64decode("".join(text.splitlines()[1:-1])) == content


def test_a_file_that_is_not_made_yet_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="/etc/a has no content yet"):
        UNMADE.apply(Difference("create"))


def test_an_image_is_loaded_and_its_archive_removed() -> None:
    load, *_, rest = IMAGE.apply(Difference("load")).splitlines()
    assert shlex.split(load)[:5] == ["docker", "load", "-q", "-i", f"{UPLOADS}/image.tar"]
    assert shlex.split(load)[-2:] == ["die", "docker cannot load it's box.tar"]
    assert shlex.split(rest) == ["rm", "-f", f"{UPLOADS}/image.tar"]


def test_only_archives_are_uploaded() -> None:
    assert IMAGE.upload() == Upload(IMAGE.archive, f"{UPLOADS}/image.tar")
    assert RELEASE.upload() == Upload(RELEASE.archive, f"{UPLOADS}/etcd.tar.gz")
    assert [one.upload() for one in (FOLDER, FILE, LINK, SERVICE, KEEPER, User("etcd", "/"))] == [None] * 6
