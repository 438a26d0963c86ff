"""Raft's arithmetic: who goes when, and where no order keeps a majority alive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.core.membership import Member, Membership, majority, spare


def members(text: str) -> tuple[Member, ...]:
    """A letter a member: small ones do not answer; after `+` those that do not vote; x, y and z are replaced."""
    voters, _, learners = text.partition("+")
    return tuple(Member(letter.upper(), letter.upper(), votes, letter.isupper(), letter in "xyz") for part, votes in
                 ((voters, True), (learners, False)) for letter in part)  # fmt: skip


def steps(found: str, wanted: str) -> str:
    done = Membership(members(found), members(wanted)).steps()
    return " ".join(f"{'+' if step.action == 'add' else '-'}{step.member}" for step in done)


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ("ABC", "ABC", ""),
        ("ABCDE", "ABC", "-D -E"),
        ("ABC", "AB", "-C"),
        ("ABc", "AB", "-C"),
        ("ABc", "ABD", "-C +D"),
        ("ABC", "ABD", "+D -C"),
        ("AB", "CD", "+C +D -A -B"),
        ("AB+C", "ABC", "+C"),
        ("AB+C", "AB", "-C"),
        ("AB+c", "ABD", "-C +D"),
        ("ABx", "ABX", "-X +X"),
        ("AB+x", "ABX", "-X +X"),
        ("ABCxy", "ABCXY", "-X -Y +X +Y"),
        ("ABxd", "AXE", "-X -D +X +E -B"),
    ],
)
def test_the_lost_go_first_and_the_living_when_their_replacements_vote(found: str, wanted: str, expected: str) -> None:
    assert steps(found, wanted) == expected
    assert Membership(members(found), members(wanted)).obstacle() == ""


@pytest.mark.parametrize(
    ("found", "wanted", "reason"),
    [
        ("ABc", "ABCD", "no member can be added while C does not answer"),
        ("ABc", "AC", "without B only 1 of 2 members would be alive, and 2 have to agree"),
        ("Abc", "AB", ""),  # there is no majority to lose: the store has to be recovered
    ],
)
def test_where_no_order_keeps_a_majority_alive_the_reason_is_said(found: str, wanted: str, reason: str) -> None:
    assert Membership(members(found), members(wanted)).obstacle() == reason


def test_a_majority_is_more_than_half() -> None:
    assert [majority(number) for number in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]
    assert [spare(3, healthy) for healthy in (3, 2, 1)] == [1, 0, -1]


URLS = st.lists(st.sampled_from("ABCDEFG"), unique=True, min_size=1, max_size=7)


@given(URLS, st.sets(st.sampled_from("ABCDEFG")), st.sets(st.sampled_from("ABCDEFG")), URLS)
def test_every_walk_ends_with_the_members_wanted_and_keeps_a_majority_or_says_why_not(
    found: list[str], silent: set[str], empty: set[str], wanted: list[str]
) -> None:
    silent |= empty & set(wanted)
    there = tuple(Member(url, url, healthy=url not in silent, replaced=url in empty & set(wanted)) for url in found)
    membership = Membership(there, tuple(Member(url, url) for url in wanted))
    had_majority = spare(len(there), sum(member.healthy for member in there)) >= 0
    voters = {member.url: member.healthy for member in there}
    for step in membership.steps():
        if step.action == "add":
            voters[step.member.url] = True
        else:
            del voters[step.member.url]
        if had_majority and not membership.obstacle():
            assert sum(voters.values()) >= majority(len(voters))
    assert set(voters) == set(wanted)
