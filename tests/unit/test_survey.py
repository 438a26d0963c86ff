"""What the verbs that only look do with hosts that answer the login, and then nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inventory_sample import RIGHT
from pki_sample import node

from provision import planes
from provision.errors import ConnectionFailed, HostSilent, PreflightRefused, Problem, StepFailed
from provision.remote import Login, Remotes, Result
from provision.remote.connection import Gateways
from provision.report.progress import Progress
from provision.verbs.session import Session

SILENT = Problem("a script: the connection is lost", "node2", "is the node up?")


class Host:
    """A host that has let us in. One that is silent answers nothing afterwards."""

    def __init__(self, name: str, address: str, *, silent: bool) -> None:
        self.node, self._silent = node(name, address), silent

    def run(self, *_: Any, **__: Any) -> Result:
        if self._silent:
            raise StepFailed(SILENT)
        return Result(0, "", "")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    hosts: Any = (Host("node1", "192.0.2.1", silent=False), Host("node2", "192.0.2.2", silent=True))

    def reach(_nodes: Any, _login: Login, first: Callable[[Any], object] = lambda _: None) -> Any:
        remotes, refused = Remotes(hosts, Gateways(Login())), {}
        for host in hosts:
            try:
                first(host)
            except StepFailed as error:
                refused[host.node.name] = error
        return remotes, refused

    monkeypatch.setattr(Remotes, "reach", reach)
    monkeypatch.setattr(Remotes, "close", lambda _: None)  # nothing was opened
    (tmp_path / "inventory.yml").write_text(RIGHT)
    return Session(tmp_path / "inventory.yml", Login(), Progress())


def test_217_a_host_that_answers_the_login_and_then_nothing_hides_no_other(session: Session) -> None:
    with session.partial_survey() as survey:
        assert survey.unreached == (SILENT,)
        assert list(survey.situation.facts) == ["node1"]
        assert [remote.node.name for remote in survey.remotes] == ["node1"], "nobody asks the silent host again"


def test_217_a_verb_that_changes_hosts_is_refused_by_a_host_that_answers_nothing(session: Session) -> None:
    with pytest.raises(PreflightRefused) as caught, session.survey(supplies=False):
        pass
    assert caught.value.problems == (SILENT,)


@pytest.mark.parametrize(
    ("kind", "recorded", "told"), [(HostSilent, True, 2), (HostSilent, False, 1), (ConnectionFailed, True, 1)]
)
def test_281_a_silent_host_without_which_there_is_no_quorum_leads_to_recover(
    session: Session, monkeypatch: pytest.MonkeyPatch, kind: type[ConnectionFailed], recorded: bool, told: int
) -> None:
    """In a cluster that was provisioned, and if the host is silent: one that refuses the login may be at work."""
    refused = {"node2": kind(Problem("port 22 cannot be reached", "node2"))}
    monkeypatch.setattr(Remotes, "reach", lambda *_: (Remotes((), Gateways(Login())), refused))
    if recorded:
        planes.record(session.cluster, planes.known()[0])
    with pytest.raises(ConnectionFailed) as caught, session.connected():
        pass
    assert len(caught.value.problems) == told
    assert ("fab recover --plan" in caught.value.problems[-1].advice) is (told == 2)
