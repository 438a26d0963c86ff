"""FAULTS.md, part A: each row refused by line, with what to type instead, and nothing connected to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from inventory_sample import RIGHT, assert_one, assert_only, changed, loaded, mistakes

from provision import inventory, planes
from provision.errors import Exit, InventoryError, UsageError


@pytest.fixture(autouse=True)
def no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", explode)


def test_a01_same_address_twice(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2", "192.0.2.1"))
    assert_only(problems, 5, "node2 and node1 (line 4) have the same address, 192.0.2.1", "ip -4 -brief address")


def test_a02_same_name_twice(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("etcd:", "  node1: {address: 192.0.2.3}\netcd:"))
    assert_only(problems, 6, "`node1` is here twice, first on line 4", "delete one of the two")


def test_a03_names_equal_but_for_case(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("node2", "Node1"))
    assert_only(problems, 5, "`Node1` and `node1` (line 4) differ in case only", "another name")


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff"])
def test_a04_empty_file(tmp_path: Path, content: str) -> None:
    assert_only(mistakes(tmp_path, content), 1, "nothing is written", "fab init --host ADDRESS --host ADDRESS")


@pytest.mark.parametrize("nodes", ["", "{}", "[]", "~", "none"])
def test_a05_no_nodes(tmp_path: Path, nodes: str) -> None:
    text = "".join(line for line in RIGHT.splitlines(keepends=True) if not line.startswith("  node"))
    problems = mistakes(tmp_path, text.replace("nodes:", f"nodes: {nodes}"))
    assert_only(problems, 3, "nodes: ", "nodes: {node1: {address: 192.0.2.11}, node2: {address: 192.0.2.12}}")


def test_a05_one_node(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("  node2: {address: 192.0.2.2}\n", ""))
    assert_only(problems, 3, "an overlay network joins two", "add a second node")


@pytest.mark.parametrize("address", ["192.0.02.2", "192.000.2.2", "192.0.2.002"])
def test_a06_address_with_a_leading_zero(tmp_path: Path, address: str) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2", address))
    assert_only(problems, 5, f"nodes.node2.address: `{address}`: a leading zero means octal", "write 192.0.2.2")


ARABIC, FULL_WIDTH = str.maketrans("0129", "\u0660\u0661\u0662\u0669"), str.maketrans("2.", "\uff12\uff0e")


@pytest.mark.parametrize("digits", [ARABIC, FULL_WIDTH, {ord("9"): "\u2079"}, {ord("9"): "\u096f"}])
def test_a07_digits_that_are_not_ascii(tmp_path: Path, digits: dict[int, int]) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2", "192.0.2.2".translate(digits)))
    assert_only(problems, 5, "is not a plain digit", "write 192.0.2.2")
    assert "U+" in problems[0].what


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("192.0.2.2", '"192.0.2.2 "', "write 192.0.2.2"),
        ("192.0.2.2", '" 192.0.2.2"', "write 192.0.2.2"),
        ("192.0.2.2", '"192.0.2.2\u00a0"', "write 192.0.2.2"),
        ("node2", '"node2 "', "write node2"),
        ("cluster: demo", 'cluster: "demo "', "write demo"),
        ("10.99.0.0/24", '"10.99.0.0/24 "', "write 10.99.0.0/24"),
        ("etcd.tar.gz", '"etcd.tar.gz "', "write etcd.tar.gz"),
    ],
)
def test_a08_trailing_space(tmp_path: Path, old: str, new: str, advice: str) -> None:
    line = RIGHT[: RIGHT.index(old)].count("\n") + 1
    assert_only(mistakes(tmp_path, changed(old, new)), line, "blank at its", advice)


def test_a08_a_space_that_yaml_drops_is_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, changed("cluster: demo", "cluster: demo   ")).name == "demo"


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("0.0.0.0", "no host has such an address"),
        ("127.0.0.1", "loopback"),
        ("127.8.9.10", "loopback"),
        ("169.254.7.7", "link-local"),
        ("224.0.0.251", "multicast"),
        ("239.255.255.250", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
    ],
)
def test_a09_addresses_that_are_no_hosts(tmp_path: Path, address: str, what: str) -> None:
    assert_only(mistakes(tmp_path, changed("192.0.2.2", address)), 5, what, "ip -4 -brief address")


@pytest.mark.parametrize("address", ["::ffff:192.0.2.1", "::FFFF:c000:201"])
def test_a10_mapped_address_of_another_node(tmp_path: Path, address: str) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2", f'"{address}"'))
    assert len(problems) == 2
    assert_one(problems[0], 5, "an IPv4-mapped IPv6 address", "write 192.0.2.1")
    assert_one(problems[1], 5, "node2 and node1 (line 4) have the same address", "its own")


@pytest.mark.parametrize("subnet", ["10.99.0.0/33", "10.99.0.0/240", "10.99.0/24", "10.99.0.256/24", "fd00::/64"])
def test_a11_no_subnet(tmp_path: Path, subnet: str) -> None:
    problems = mistakes(tmp_path, changed("10.99.0.0/24", f'"{subnet}"'))
    assert_only(problems, 10, f"networks.demo.subnet: `{subnet}` is not an IPv4 subnet", "10.99.0.0/24")


def test_a11_subnet_without_a_prefix(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("10.99.0.0/24", "10.99.0.0"))
    assert_only(problems, 10, "has no prefix length", "write 10.99.0.0/24")


@pytest.mark.parametrize("subnet", ["10.99.0.1/24", "10.99.0.255/24", "10.99.0.0/255.255.255.0"])
def test_a12_subnet_with_host_bits(tmp_path: Path, subnet: str) -> None:
    assert_only(mistakes(tmp_path, changed("10.99.0.0/24", subnet)), 10, f"`{subnet}` is", "write 10.99.0.0/24")


@pytest.mark.parametrize("length", [30, 31, 32])
def test_a13_subnet_too_small(tmp_path: Path, length: int) -> None:
    problems = mistakes(tmp_path, changed("10.99.0.0/24", f"10.99.0.0/{length}"))
    assert_only(problems, 10, "too small", "/29 or larger")


def test_a13_subnet_too_small_for_the_nodes(tmp_path: Path) -> None:
    more = "".join(f"  node{n}: {{address: 192.0.2.{n}}}\n" for n in range(3, 7))
    text = changed("etcd:", f"{more}etcd:").replace("10.99.0.0/24", "10.99.0.0/29")
    assert_only(mistakes(tmp_path, text), 14, "no room for a container on each of 6 nodes", "/24")


def test_a13_subnet_larger_than_any_private_range(tmp_path: Path) -> None:
    assert_only(mistakes(tmp_path, changed("10.99.0.0/24", "8.0.0.0/7")), 10, "larger than", "/8 or smaller")


@pytest.mark.parametrize("subnet", ["10.99.0.0/24", "10.99.0.128/25", "10.0.0.0/8"])
def test_a14_overlays_overlap(tmp_path: Path, subnet: str) -> None:
    problems = mistakes(tmp_path, RIGHT + f"    other: {{subnet: {subnet}}}\n")
    assert_only(problems, 11, f"{subnet} overlaps 10.99.0.0/24 of demo (line 10)", "a range that nothing else uses")


def test_a15_an_overlay_holds_a_nodes_address(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2", "10.99.0.7"))
    assert_only(problems, 10, "holds node2's address 10.99.0.7 (line 5)", "a range that nothing else uses")


def test_a15_the_overlay_that_is_not_written_holds_a_nodes_address(tmp_path: Path) -> None:
    text = RIGHT[: RIGHT.index("overlay")].replace("192.0.2.2", "10.99.0.7")
    assert_only(mistakes(tmp_path, text), 1, "10.99.0.0/24 holds node2's address", "a range that nothing else uses")


@pytest.mark.parametrize(
    ("again", "first"),
    [("cluster: other", 2), ("etcd: {source: x}", 6), ("overlay: {}", 8), ('"version": 1', 1)],
)
def test_a16_duplicate_key(tmp_path: Path, again: str, first: int) -> None:
    assert_only(mistakes(tmp_path, f"{RIGHT}{again}\n"), 11, f"is here twice, first on line {first}", "delete one")


@pytest.mark.parametrize(
    ("word", "reading"),
    [
        ("20.10", "a number"),
        ("42", "a number"),
        ("1e3", "a number"),
        ("0x1f", "a number"),
        ("1_000", "a number"),
        (".inf", "a number without end"),
        ("2024-01-02", "a date"),
        ("true", "a yes or a no"),
        ("012", "an octal number"),
        ("12:30", "a number in base 60"),
    ],
)
def test_a17_a_word_that_yaml_takes_for_a_number(tmp_path: Path, word: str, reading: str) -> None:
    problems = mistakes(tmp_path, changed("cluster: demo", f"cluster: {word}"))
    assert_only(problems, 2, f"{reading}, but text is expected", f'put it in quotes: cluster: "{word}"')


def test_a17_an_address_that_yaml_takes_for_a_number(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2", "20.10"))
    assert_only(problems, 5, "nodes.node2.address: `20.10` is taken for a number", "write address: 192.0.2.11")


@pytest.mark.parametrize("port", ["022", "22:22", '"22"', "22.0", "0x16", "+22", "22,", "[22]", "ssh"])
def test_a18_port_that_is_no_plain_number(tmp_path: Path, port: str) -> None:
    problems = mistakes(tmp_path, changed("nodes:", f"ssh:\n  port: {port}\nnodes:"))
    assert_only(problems, 4, "but a plain number is expected", "write port: 22")


@pytest.mark.parametrize("name", ["no", "NO", "yes", "off", "n", "null", "1", "1.5", "0700"])
def test_a19_name_that_yaml_takes_for_something_else(tmp_path: Path, name: str) -> None:
    problems = mistakes(tmp_path, changed("node2", name))
    assert_only(problems, 5, f"the key `{name}` is taken for", f'put it in quotes: "{name}"')
    assert loaded(tmp_path, changed("node2", f'"{name}"')).nodes[1].name == name


def test_a19_a_yes_or_no_that_is_not_true_or_false(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("192.0.2.2}", "192.0.2.2, member: no}"))
    assert_only(problems, 5, "nodes.node2.member: `no`", "write member: false")


def test_a20_alias_bomb(tmp_path: Path) -> None:
    levels = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    problems = mistakes(tmp_path, f"a: &a [lol]\n{levels}")
    aliases = [problem for problem in problems if "alias" in problem.what]
    assert len(aliases) == 8 * 9
    assert_one(aliases[0], 2, "the alias `*a`", "write the value out")


@pytest.mark.parametrize(
    ("content", "line"),
    [("&a [*a]", 1), (changed("demo: {", "demo: &a {a: *a, "), 10), (f"{RIGHT}ssh: *s\n", 11)],
)
def test_a21_self_reference(tmp_path: Path, content: str, line: int) -> None:
    assert_one(mistakes(tmp_path, content)[0], line, "the alias `*", "write the value out")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "[{a: ", "? "])
def test_a22_nesting_5000_deep(tmp_path: Path, opening: str) -> None:
    problems = mistakes(tmp_path, f"{RIGHT}probe:\n  {opening * 5000}\n")
    assert len(problems) == 1
    assert problems[0].where.endswith(":12")
    assert problems[0].advice


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!python/object/apply:os.system", "!x", "!!binary"])
@pytest.mark.parametrize("value", ["[touch x]", "{a: b}", "word"])
def test_a23_tag(tmp_path: Path, tag: str, value: str) -> None:
    problems = mistakes(tmp_path, changed("etcd.tar.gz", f"{tag} {value}"))
    assert_only(problems, 7, f"the tag `{tag}`", "delete the tag")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inventory.yml"]


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "advice"),
    [
        ("etcd:", "overlays: {}\netcd:", 6, "overlays: there is no such key", "write overlay"),
        (
            "192.0.2.2}",
            "192.0.2.2, membr: true}",
            5,
            "nodes.node2.membr: there is no such key",
            "write member",
        ),
        ("192.0.2.2}", "192.0.2.2, user: ops}", 5, "does not belong here", "write it under nodes.NAME.ssh"),
        ("etcd:", "user: ops\netcd:", 6, "user: this key does not belong here", "write it under ssh"),
        ("etcd:", "subnet: 10.0.0.0/24\netcd:", 6, "does not belong", "write it under overlay.networks.NAME"),
        ("etcd:", "zebra: 1\netcd:", 6, "zebra: there is no such key", "the keys are version, cluster, ssh"),
        ("etcd:", "underlay: wireguard\netcd:", 6, "underlay: this key is reserved", "delete it"),
    ],
)
def test_a24_unknown_key(tmp_path: Path, old: str, new: str, line: int, what: str, advice: str) -> None:
    assert_only(mistakes(tmp_path, changed(old, new)), line, what, advice)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ('"$(touch /x)"', "starts with `$`"),
        ('"a$(touch /x)"', "holds `$`"),
        ('"a;b"', "holds `;`"),
        ("a'b", "holds `'`"),
        ("'a\"b'", 'holds `"`'),
        ('"a\\nb"', "holds a line break"),
        ('"a\\0b"', "holds NUL"),
        ('"a\\tb"', "holds a tab"),
        ('"a b"', "holds ` `"),
        ('"a=b,c"', "holds `=`"),
        ('"a%b"', "holds `%`"),
    ],
)
@pytest.mark.parametrize(("word", "line"), [("node2", 5), ("demo: {", 10)])
def test_a25_name_with_a_meaning_elsewhere(tmp_path: Path, name: str, what: str, word: str, line: int) -> None:
    problems = mistakes(tmp_path, changed(word, word.replace(word.rstrip(": {"), name)))
    assert_only(problems, line, what, "")
    assert problems[0].advice.startswith(("use a-z", "delete it"))
    assert str(problems[0]).replace("\n", "").isprintable()


@pytest.mark.parametrize("content", [RIGHT.encode() + b"\0", RIGHT.encode() + b"# \x1b[2J"])
def test_a25_control_character_in_the_file(tmp_path: Path, content: bytes) -> None:
    assert_only(mistakes(tmp_path, content), 11, "an invisible character", "delete it")


@pytest.mark.parametrize("name", ["-rf", "../x", "a/../b", "/etc", ".", "..", "~"])
def test_a26_name_that_is_a_flag_or_a_path(tmp_path: Path, name: str) -> None:
    problems = mistakes(tmp_path, changed("node2", f'"{name}"'))
    assert_only(problems, 5, f"`{name}`", "use a-z, A-Z, 0-9")


@pytest.mark.parametrize(
    ("name", "character"),
    [
        ("n\u043ede2", "U+043E CYRILLIC SMALL LETTER O"),
        ("\u05d0\u05d1", "U+05D0 HEBREW LETTER ALEF"),
        ("node\uff12", "U+FF12 FULLWIDTH DIGIT TWO"),
        ("node\u0661", "U+0661 ARABIC-INDIC DIGIT ONE"),
        ("n\u00f6de", "U+00F6 LATIN SMALL LETTER O WITH DIAERESIS"),
    ],
)
def test_a27_look_alike_letters(tmp_path: Path, name: str, character: str) -> None:
    assert_only(mistakes(tmp_path, changed("node2", name)), 5, character, "use a-z, A-Z, 0-9")


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u200f", "\u200b", "\u2028"])
def test_a27_right_to_left_and_invisible_characters(tmp_path: Path, character: str) -> None:
    code = f"U+{ord(character):04X}"
    assert_only(mistakes(tmp_path, changed("node2", f"no{character}de2")), 5, code, "delete it")
    escaped = f'"no\\u{ord(character):04x}de2"'
    assert_only(mistakes(tmp_path, changed("node2", escaped)), 5, code, "delete it")


def test_a28_name_too_long(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, changed("node2", "n" * 64))
    assert_only(problems, 5, "has 64 characters", "shorten it to 63")
    assert loaded(tmp_path, changed("node2", "n" * 63)).nodes[1].name == "n" * 63


OUR_PORTS = {port.number for port in planes.ports()}


@pytest.mark.parametrize("port", [-1, 0, 65536, 10**17, *sorted(OUR_PORTS)])
@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("nodes:", "ssh: {port: PORT}\nnodes:", 3), ("192.0.2.2", "192.0.2.2, ssh: {port: PORT}", 5)],
)
def test_a29_port(tmp_path: Path, port: int, old: str, new: str, line: int) -> None:
    problems = mistakes(tmp_path, changed(old, new.replace("PORT", str(port))))
    taken = port in OUR_PORTS
    advice = "another port than 2376, 2377, 2379, 2380, 4789, 7946" if taken else "from 1 to 65535"
    assert_only(problems, line, "is taken by" if taken else "is not a port", advice)


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x02\x01", b"\x1f\x8b\x08", b"version: \xff", "versión".encode("latin-1")]
)
def test_a30_binary_file(tmp_path: Path, content: bytes) -> None:
    problems = mistakes(tmp_path, b"# first\n" + content)
    assert problems[0].where.endswith("/inventory.yml:2")
    assert problems[0].advice


def test_a30_huge_file(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, b"#" * 10_000_000)
    assert "over 100 kB" in problems[0].what
    assert "fab -i" in problems[0].advice


def test_a30_folder(tmp_path: Path) -> None:
    with pytest.raises(InventoryError) as caught:
        inventory.load(tmp_path)
    assert "this is a folder" in str(caught.value)
    assert "fab -i PATH/inventory.yml" in str(caught.value)


def test_a30_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "inventory.yml")
    with pytest.raises(InventoryError, match="not an ordinary file"):
        inventory.load(tmp_path / "inventory.yml")


@pytest.mark.parametrize("hidden", ["file", "folder"])
def test_a30_unreadable_file(tmp_path: Path, hidden: str) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text(RIGHT)
    (path if hidden == "file" else tmp_path).chmod(0)
    with anybody(), pytest.raises(InventoryError) as caught:
        inventory.load(path)
    assert "cannot be read: Permission denied" in str(caught.value)
    assert f"ls -l {path}" in str(caught.value)


@pytest.mark.parametrize("name", ["inventory.yml", "no/such/folder.yml"])
def test_a_missing_file_is_no_mistake_in_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        inventory.load(tmp_path / name)
    assert not isinstance(caught.value, InventoryError)
    assert caught.value.exit_code is Exit.USAGE
    assert "fab init --host ADDRESS --host ADDRESS" in str(caught.value)


@contextmanager
def anybody() -> Iterator[None]:
    """Be a user without privileges for a while: root may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)
