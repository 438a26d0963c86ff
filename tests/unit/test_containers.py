"""What containers should have: read from a node's lines, and what Docker says now over what was recorded."""

from __future__ import annotations

from dataclasses import replace

from provision.docker.containers import RECORDED, Attachment, Container, merge, parse, read

WEB, GONE = "a" * 64, "b" * 64
NETWORK = "c" * 64
LINES = f"""root\t/var/lib/docker
container\t{WEB}\tweb\tbusybox:1\tyes\talways
attachment\t{WEB}\tbridge\t\t172.17.0.2\tno
attachment\t{WEB}\tdemo\t{NETWORK}\t10.99.0.5\tyes\twww\tdb
container\t{GONE}\tbare\tbusybox\tno\tno
"""
HAS = Container(
    "node1",
    WEB,
    "web",
    "busybox:1",
    runs=True,
    restart="always",
    attachments=(
        Attachment("bridge", "172.17.0.2"),
        Attachment("demo", "10.99.0.5", fixed=True, aliases=("www", "db")),
    ),
)


def test_a_container_is_read_with_all_its_networks_and_one_without_a_network_is_not() -> None:
    assert parse("node1", LINES) == (HAS,)


def test_names_are_read_as_docker_escapes_them() -> None:
    lines = f'container\t{WEB}\tweb\ta\\u0026b\tno\tno\nattachment\t{WEB}\tdemo\t\t\tno\tit\'s a \\"name\\"\n'
    (container,) = parse("node1", lines)
    assert (container.image, container.attachments) == ("a&b", (Attachment("demo", aliases=('it\'s a "name"',)),))


def test_nothing_and_words_that_are_no_lines_of_ours_are_no_containers() -> None:
    assert parse("node1", "") == parse("node1", "Warning: x\n\nattachment\tx\n") == ()


def test_what_docker_says_now_comes_before_what_was_recorded() -> None:
    now = replace(HAS, name="renamed", attachments=(Attachment("demo", "10.99.0.9", aliases=("new",)),))
    recorded = replace(HAS, attachments=HAS.attachments[1:])
    assert merge([now], [recorded]) == (now,)


def test_236_an_address_a_network_and_a_container_that_docker_has_forgotten_are_those_of_the_record() -> None:
    stopped = replace(HAS, runs=False, attachments=(Attachment("bridge"),))
    other = replace(HAS, identity=GONE, name="gone")
    assert merge([stopped], [HAS, other]) == (replace(HAS, runs=False), other)


def test_an_answer_has_what_docker_says_and_what_was_recorded() -> None:
    assert read("node1", f"root\t/x\n{RECORDED}\n{LINES}") == (HAS,)
    assert read("node1", f"{LINES}{RECORDED}\n") == (HAS,)
