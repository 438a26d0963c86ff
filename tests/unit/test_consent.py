"""What a run asks before its first stage, and what it asks again when a later stage would do more."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.core.plan import Change, Plan
from provision.errors import ConsentMissing, Exit
from provision.remote import Login
from provision.report.progress import Progress
from provision.verbs.session import Session
from provision.verbs.steps import consent_to_more

FILE = Change("node1", "pki", "file /etc/a", "update")
RESTART = Change("node1", "docker", "unit docker.service", "restart")
STOP = Change("node1", "docker", "unit docker.service", "restart", stops=("web",))
LEAVE = Change("cluster", "leave", "member node3", "remove", consent="remove the member node3")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Nobody is there to ask."""
    monkeypatch.setattr(Progress, "can_ask", False)
    return Session(tmp_path / "inventory.yml", Login(None, (), None), Progress(live=False))


@pytest.mark.parametrize("plan", [Plan(), Plan((FILE,)), Plan((RESTART,)), Plan((STOP,)), Plan((FILE, LEAVE))])
def test_a_later_stage_does_what_was_named_and_asks_nobody(session: Session, plan: Plan) -> None:
    consent_to_more(session, plan, Plan((STOP, LEAVE)), yes=False)


@pytest.mark.parametrize(
    ("change", "named", "words"),
    [
        (RESTART, Plan(), "restart unit docker.service on node1"),
        (STOP, Plan((RESTART,)), "stop the container node1: web for good"),
        (LEAVE, Plan(), "remove the member node3"),
    ],
    ids=["restart", "stop", "consent"],
)
def test_a_later_stage_that_would_do_more_needs_a_yes(
    session: Session, capsys: pytest.CaptureFixture[str], change: Change, named: Plan, words: str
) -> None:
    with pytest.raises(ConsentMissing, match=words) as caught:
        consent_to_more(session, Plan((FILE, change)), named, yes=False)
    assert caught.value.exit_code == Exit.REFUSED
    assert "before anything was touched" not in caught.value.title
    capsys.readouterr()
    consent_to_more(session, Plan((FILE, change)), named, yes=True)
    assert f"not foreseen: to {words}" in capsys.readouterr().err
