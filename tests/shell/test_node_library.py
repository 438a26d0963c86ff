"""What the shell library says of a node and remembers of it, really run; its facts are read by the program itself."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from node_shell import OTHER, SHELLS, STRANGE, Shell, calling, hash_of, names, seen

from provision.facts import PathFact, parse


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


# ---- facts ----


#: One that lists a table as it is in a file, and all of them.
NFT = 'nft() { case "$*" in "list tables") ;; "-s list table inet ours") cat listed ;; *) false ;; esac; }'


def test_a_table_that_somebody_touched_is_not_as_it_was_loaded(shell: Shell) -> None:
    ask = f"{NFT}\nline_of() {{ cat loaded; }}\nfact_tables ours"
    shell.run("echo 'drop all' >listed; sha256sum <listed >loaded")
    assert parse(shell.run(ask)).tables == {"ours"}
    shell.run("echo 'drop none' >listed")
    found = parse(shell.run(ask))
    assert (found.tables, found.values["nft"]) == (frozenset(), "yes")
    shell.run("rm listed")
    assert parse(shell.run(f'cat() {{ command cat "$@" 2>/dev/null; }}\n{ask}')).tables == frozenset()


def test_whom_our_table_in_the_kernel_lets_in_is_known_also_when_it_was_touched(shell: Shell) -> None:
    shell.run(
        "printf 'set nodes {\\n\\telements = { 192.0.2.1, 192.0.2.2,\\n\\t\\t192.0.2.3 }\\n}\\nset b { x }\\n' >listed"
    )
    ask = f"{NFT}\nline_of() {{ echo another; }}\nfact_tables ours"
    found = parse(shell.run(ask))
    assert (found.tables, found.admitted) == (frozenset(), {"192.0.2.1", "192.0.2.2", "192.0.2.3"})
    assert parse(shell.run(f"{ask} others")).admitted == found.admitted


def test_as_whom_a_host_comes_to_another_is_asked_of_its_routes(shell: Shell) -> None:
    answer = {"9": "192.0.2.9 dev eth1 src 192.0.2.1 uid 0 \\    cache", "8": "unreachable 192.0.2.8"}
    ip = f"""ip() {{ case "$5" in *9) echo '{answer["9"]}' ;; *) echo '{answer["8"]}' ;; esac; }}"""
    assert parse(shell.run(f"{ip}\nfact_sources 192.0.2.9 192.0.2.8")).sources == {"192.0.2.9": "192.0.2.1"}


def test_a_host_where_nft_does_not_work_says_nothing_of_it(shell: Shell) -> None:
    assert shell.run("nft() { false; }\nfact_tables ours") == ""


#: The rules of Docker 20.10, and of 28 for the chain FORWARD.
OLD = """*filter
:FORWARD DROP [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
COMMIT
*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.18.0.0/16 ! -o docker_gwbridge -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT"""
FLUSHED = """*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
COMMIT
*nat
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT"""


def with_rules(shell: Shell, rules: str, legacy: str) -> str:
    """Put programs into the folder that print rules, of each variant of iptables. Return a script."""
    for program, printed in (("iptables-save", rules), ("iptables-legacy-save", legacy), ("iptables-nft-save", "")):
        path = shell.folder / program
        path.write_text(f"#!/bin/sh\ncat <<'.'\n{printed}\n.\n")
        path.chmod(0o755)
    return f"PATH={shell.folder}:$PATH\nactive=' docker.service '\nfact_rules"


@pytest.mark.parametrize(
    ("rules", "legacy", "told"),
    [
        (OLD, "", " forward nat masquerade"),
        (FLUSHED, "", ""),
        (FLUSHED, OLD, " forward nat masquerade"),
        (OLD.replace("-A FORWARD -j DOCKER-USER", "-A FORWARD -i x -j DOCKER-USER"), "", " nat masquerade"),
    ],
)
def test_193_dockers_rules_for_packets_are_looked_for(shell: Shell, rules: str, legacy: str, told: str) -> None:
    assert shell.run(with_rules(shell, rules, legacy)) == f"value\tdocker-rules\t{told}\n"


def test_193_a_host_whose_docker_does_not_run_says_nothing_of_its_rules(shell: Shell) -> None:
    assert shell.run("fact_rules") == ""


def test_a_fact_is_one_line_with_its_fields_as_they_are(shell: Shell) -> None:
    fields = ["a", "two words", "", r"back\nslash %s", "-n", STRANGE]
    assert shell.call("fact", *fields) == "\t".join(fields) + "\n"


def test_any_text_comes_on_one_line(shell: Shell) -> None:
    text = "one\ntwo\tü\n" * 100
    (shell.folder / "text").write_text(text)
    answer = shell.run("fact_encoded value daemon-json <text")
    assert answer.count("\n") == 1
    assert parse(answer).values["daemon-json"] == text


def test_paths_hashes_and_texts_are_read_back_as_they_are(shell: Shell) -> None:
    base = shell.folder
    (base / STRANGE).write_text("text\n")
    shutil.chown(base / STRANGE, "nobody", "nogroup")
    (base / STRANGE).chmod(0o4640)
    (base / "empty").touch(0o600)
    (base / "folder").mkdir(0o700)
    (base / "target").write_text("not asked for\n")
    (base / "link").symlink_to("target")
    (base / "dangling").symlink_to("nowhere at all")
    paths = [str(base / name) for name in (STRANGE, "empty", "folder", "link", "dangling", "absent")]
    script = "\n".join(shlex.join([f"fact_{kind}", *paths]) for kind in ("paths", "hashes", "texts"))
    root, text = "root:root", hash_of(b"text\n")
    assert parse(shell.run(f"{script}\ntrue")).paths == {
        f"{base}/{STRANGE}": PathFact("file", 0o4640, OTHER, text, text="text\n"),
        f"{base}/empty": PathFact("file", 0o600, root, hash_of(b""), text=""),
        f"{base}/folder": PathFact("folder", 0o700, root),
        f"{base}/link": PathFact(
            *("link", 0o777, root, hash_of(b"not asked for\n"), "target", "not asked for\n"),
            leads_to=PathFact("file", 0o644, root),
        ),
        f"{base}/dangling": PathFact("link", 0o777, root, target="nowhere at all"),
    }


def test_49_a_path_has_the_room_of_the_folder_it_will_come_into(shell: Shell) -> None:
    (shell.folder / STRANGE).mkdir()
    paths = [str(shell.folder / STRANGE), str(shell.folder / STRANGE / "not" / "there yet"), "/absent"]
    spaces = parse(shell.call("fact_spaces", *paths, "relative")).spaces
    assert set(spaces) == {*paths, "relative"}
    here, below, top, _ = spaces.values()
    assert (below.mount, below.options) == (here.mount, here.options)
    assert top.mount == "/"
    assert here.free == pytest.approx(shutil.disk_usage(shell.folder).free, rel=0.2)
    assert "rw" in here.options
    assert here.inodes is None or here.inodes > 0


def test_102_the_inodes_of_a_file_system_are_counted(shell: Shell) -> None:
    (shell.folder / "small").mkdir()
    path = shlex.quote(str(shell.folder / "small"))
    script = f"mount -t tmpfs -o size=1m,nr_inodes=10 tmpfs {path} && touch {path}/a {path}/b && fact_spaces {path}"
    (space,) = parse(shell.try_to(script, "unshare", "-m").stdout).spaces.values()
    assert (space.mount, space.inodes) == (str(shell.folder / "small"), 7)


@pytest.mark.parametrize("kind", ["paths", "hashes", "texts", "large"])
def test_what_is_not_there_is_no_fact_and_no_complaint(shell: Shell, kind: str) -> None:
    assert shell.run(f"fact_{kind} {shell.folder}/absent || true") == ""


@pytest.mark.parametrize(
    ("make", "holds"),
    [
        (lambda _: None, False),
        (lambda folder: folder.mkdir(), False),
        (lambda folder: (folder / ".hidden").mkdir(parents=True), True),
        (lambda folder: (folder.mkdir(), (folder / "dangling").symlink_to("nowhere")), True),
    ],
    ids=["absent", "empty", "hidden", "a dangling link"],
)
def test_a_folder_holds_something(shell: Shell, make: Callable[[Path], object], holds: bool) -> None:
    make(shell.folder / STRANGE)
    assert shell.run(f"holds_something {shlex.quote(STRANGE)} && echo yes || true") == "yes\n" * holds


@pytest.mark.parametrize(("text", "line"), [("one\ntwo\n", "one"), ("no end", "no end"), ("", ""), (None, "")])
def test_a_files_first_line(shell: Shell, text: str | None, line: str) -> None:
    if text is not None:
        (shell.folder / STRANGE).write_text(text)
    assert shell.call("line_of", STRANGE) == line


ADDRESSES = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue qlen 1000
    inet 192.0.2.1/24 brd 192.0.2.255 scope global eth0
    inet 192.0.2.7/32 scope global secondary eth0
3: tun0: <POINTOPOINT,UP> mtu 1420 qdisc fq_codel
    inet 10.8.0.6 peer 10.8.0.5/32 scope global tun0
"""


def test_an_address_has_the_mtu_of_its_interface(shell: Shell) -> None:
    (shell.folder / "addresses").write_text(ADDRESSES)
    facts = parse(shell.run("ip() { cat addresses; }\nfact_addresses"))
    assert facts.mtus == {"127.0.0.1": 65536, "192.0.2.1": 1400, "192.0.2.7": 1400, "10.8.0.6": 1420}


@pytest.mark.parametrize("ip", ["ip", "busybox ip"])
def test_this_machines_own_addresses_are_read(shell: Shell, ip: str) -> None:
    asked = f'ip() {{ command {ip} "$@"; }}\nfact_addresses'
    script = f"{asked}\nip link set lo mtu 1234 up\nip address add 192.0.2.9/32 dev lo\n{asked}"
    done = shell.try_to(script, "unshare", "-n")
    assert (done.returncode, parse(done.stdout).mtus) == (0, {"127.0.0.1": 1234, "192.0.2.9": 1234})


def test_39_name_servers_are_read_from_every_file_that_is_there(shell: Shell) -> None:
    text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 192.0.2.53 # x\nnameserver\tfd00::53\n\noptions edns0\n"
    (shell.folder / "one").write_text(text)
    (shell.folder / "two").write_text("nameserver 192.0.2.53\nnameserver 127.0.0.53")  # no line's end
    facts = parse(shell.call("fact_resolvers", "one", "absent", "two"))
    assert facts.resolvers == ("192.0.2.53", "fd00::53", "127.0.0.53")


# ---- stamps ----


def replaced(path: Path) -> None:
    """Another file of the same size and time of change."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    shutil.copystat(path, other)
    other.rename(path)


@pytest.mark.parametrize(
    "touch",
    [
        lambda path: path.write_text("longer"),
        lambda path: path.write_text("text"),
        lambda path: os.utime(path, (1, 1)),
        lambda path: path.chmod(0o600),
        replaced,
    ],
    ids=["other size", "written again", "dated back", "mode", "replaced"],
)
def test_a_stamp_holds_until_the_file_is_touched(shell: Shell, touch: Callable[[Path], object]) -> None:
    path = shell.folder / STRANGE
    path.write_text("text")
    shell.call("stamp", path, "some value")
    assert shell.call("stamped", "hash", path) == f"hash\t{path}\tsome value\n"
    touch(path)
    assert shell.try_to(calling("stamped", "hash", path)).returncode != 0


def test_each_file_has_its_own_stamp_and_the_last_one_counts(shell: Shell) -> None:
    (shell.folder / "a b").touch()
    (shell.folder / "a").touch()
    for path, value in (("a", "1"), ("a b", "2"), ("a", "3")):
        shell.call("stamp", shell.folder / path, value)
    assert [shell.call("stamped", "hash", shell.folder / path)[-2:] for path in ("a", "a b")] == ["3\n", "2\n"]
    assert (shell.folder / "state").stat().st_mode & 0o777 == 0o700


def test_a_large_file_is_read_only_when_its_stamp_does_not_hold(shell: Shell) -> None:
    path = shell.folder / STRANGE
    path.write_text("text")
    assert shell.call("fact_large", path) == f"hash\t{path}\t{hash_of(b'text')}\n"
    shell.call("stamp", path, "known")
    assert shell.call("fact_large", path) == f"hash\t{path}\tknown\n"
    path.write_text("more")
    assert shell.call("fact_large", path) == f"hash\t{path}\t{hash_of(b'more')}\n"


# ---- what was here before us ----


def test_everything_is_put_back_as_it_was(shell: Shell) -> None:
    base = shell.folder / STRANGE
    (base / "folder").mkdir(parents=True, mode=0o750)
    shutil.chown(base / "folder", "nobody", "nogroup")
    (base / "file").write_text("theirs")
    (base / "file").chmod(0o640)
    (base / "link").symlink_to("file")
    before = {path: seen(base / path) for path in ("folder", "file", "link")}
    ours = [base / name for name in (*before, "new", "new/file", "new link")]
    shell.call("remember_path", *ours)
    (base / "folder").chmod(0o700)
    shutil.chown(base / "folder", "root", "root")
    (base / "file").unlink()
    (base / "file").symlink_to("new")
    (base / "link").unlink()
    (base / "link").write_text("ours")
    (base / "new").mkdir()
    (base / "new/file").touch()
    (base / "new link").symlink_to("file")
    shell.call("remember_path", *ours)  # a second run takes nothing of ours for theirs
    shell.call("put_back", ".*")
    assert {name: seen(base / name) for name in names(base)} == before


def test_100_a_folder_behind_a_link_is_put_back_where_it_is(shell: Shell) -> None:
    (shell.folder / "disk").mkdir(mode=0o750)
    (shell.folder / "link").symlink_to("disk")
    before = seen(shell.folder / "disk"), seen(shell.folder / "link")
    shell.call("remember_path", shell.folder / "link")
    shell.call("put_folder", shell.folder / "link", "0700", OTHER)
    assert seen(shell.folder / "disk")[1:] == (0o700, OTHER)
    (shell.folder / "link/ours").touch()
    assert (shell.folder / "disk/ours").exists()
    shell.call("put_back", ".*")
    assert (seen(shell.folder / "disk"), seen(shell.folder / "link")) == before


def test_100_a_file_is_written_durably_in_a_folder_behind_a_link(shell: Shell) -> None:
    (shell.folder / "disk").mkdir()
    (shell.folder / "link").symlink_to("disk")
    traced = 'sync() { printf \'%s\\n\' "$1" >>synced; command sync "$1"; }\n'
    path = shell.folder / "link/file"
    shell.run(traced + calling("put_file", path, "0600", "root:root", hash_of(b"text"), text=b"text"))
    assert (shell.folder / "disk/file").read_bytes() == b"text"
    temporary, folder = (shell.folder / "synced").read_text().splitlines()
    assert (temporary, folder) == (f"{shell.folder}/link/.file.overlay-provision", f"{shell.folder}/link")
    assert (shell.folder / "link").is_symlink()


def test_100_a_disk_that_was_mounted_later_stays_mounted_and_keeps_its_lost_and_found(shell: Shell) -> None:
    path = shlex.quote(str(shell.folder / "data"))
    script = (
        f"remember_path {path}; mkdir {path}; mount -t tmpfs tmpfs {path}; mkdir {path}/lost+found {path}/member; "
        f"put_back '.*'; ls {path}; mountpoint -q {path} && echo mounted"
    )
    assert shell.try_to(script, "unshare", "-m").stdout.split() == ["lost+found", "mounted"]


@pytest.mark.parametrize(("names", "answer"), [(["lost+found"], ""), (["lost+found", "data"], "yes")])
def test_100_a_new_file_system_holds_no_data(shell: Shell, names: list[str], answer: str) -> None:
    script = "mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/etcd && cd /var/lib/etcd && mkdir"
    output = shell.try_to(f"{script} {' '.join(names)} && fact_store_data", "unshare", "-m").stdout
    assert parse(output).answers.get("store-data", "").strip() == answer


def test_179_what_is_absent_already_is_put_back_as_well_as_can_be(shell: Shell) -> None:
    base = shell.folder / STRANGE
    (base / "gone").mkdir(parents=True)
    (base / "gone/file").write_text("theirs")
    (base / "kept").mkdir(mode=0o750)
    shell.call("remember_path", base / "gone", base / "gone/file", base / "kept")
    record = shell.folder / "state/record"
    # A record of an earlier version has names; this user does not exist any more.
    lines = [line.replace("750 0:0", "750 nobody-at-all:root") for line in record.read_text().splitlines()]
    record.write_text("".join(f"{line}\n" for line in lines))
    shutil.rmtree(base / "gone")
    (base / "kept").chmod(0o700)
    shell.call("put_back", ".*")
    assert (base / "gone/file").read_text() == "theirs"
    assert seen(base / "kept") == (b"", 0o750, "root:root")
    shutil.rmtree(base)
    record.write_text("".join(f"{line}\n" for line in lines if line.startswith("folder")))
    shell.call("put_back", ".*")
    assert not base.exists()


@pytest.mark.parametrize(("user", "group", "done"), [("yes", "", "user"), ("", "yes", "group"), ("", "", "")])
def test_179_a_user_that_is_gone_already_is_no_obstacle(shell: Shell, user: str, group: str, done: str) -> None:
    there = f"id() {{ [ '{user}' ]; }}; getent() {{ [ '{group}' ]; }}; "
    there += "userdel() { echo user; }; groupdel() { echo group; }\n"
    assert shell.run(f"{there}remember user etcd -\nput_back '.*'\n").split() == [done] * bool(done)


def test_only_what_a_pattern_names_is_put_back(shell: Shell) -> None:
    paths = [shell.folder / name for name in ("etcd", "docker", "docker2", "other")]
    shell.call("remember_path", *paths)
    for path in paths:
        path.touch()
    shell.call("put_back", f"{shell.folder}/docker|{shell.folder}/etcd")
    assert names(shell.folder) == ["other"]


def test_nothing_remembered_is_nothing_to_put_back(shell: Shell) -> None:
    (shell.folder / "file").touch()
    shell.call("put_back", ".*")
    assert names(shell.folder) == ["file"]


def test_a_name_is_remembered_once_and_for_itself_only(shell: Shell) -> None:
    script = "remember unit a.service first\nremember unit a.service second\nremember unit 'a' third\n"
    shell.run(script + "remember absent .service -")
    shell.run("remember unit a.service fourth")
    record = (shell.folder / "state/record").read_text().splitlines()
    assert record == ["unit\ta.service\tfirst", "unit\ta\tthird", "absent\t.service\t-"]
    assert shell.call("recorded", "unit", "a.service") == "first\n"
    assert shell.try_to("recorded unit b.service").returncode != 0
    assert shell.try_to("recorded absent a.service").returncode != 0
