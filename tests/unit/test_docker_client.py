"""What is tried again when Docker answers with an error, and what is not."""

from __future__ import annotations

import pytest
from docker.errors import APIError
from requests import Response
from requests.exceptions import ReadTimeout

from provision import waiting
from provision.docker.client import retry
from provision.errors import StepFailed


def api_error(status: int, words: str = "") -> APIError:
    response = Response()
    response.status_code = status
    return APIError("", response, words or f"status {status}")


class Attempts:
    """An attempt that fails with each of these in turn, with the last for ever; None is success."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error:
            raise error


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.time, "sleep", lambda _: None)
    monkeypatch.setattr("provision.docker.client.RETRY_SECONDS", 0.05)


def test_dockers_own_errors_and_its_silence_are_tried_again() -> None:
    attempts = Attempts(api_error(500), ReadTimeout("no answer"), None)
    retry(attempts, "Docker makes the network", "node1")
    assert attempts.count == 3


def test_an_error_of_ours_is_told_at_once() -> None:
    attempts = Attempts(api_error(409))
    with pytest.raises(StepFailed, match="node1: waited until Docker makes the network: Docker refuses: status 409"):
        retry(attempts, "Docker makes the network", "node1")
    assert attempts.count == 1


def test_what_stays_wrong_ends_with_dockers_last_words() -> None:
    with pytest.raises(StepFailed, match=r"status 503[\s\S]*journalctl -u docker"):
        retry(Attempts(api_error(500), api_error(503)), "Docker makes the network", "node1")


def test_an_endpoint_whose_container_has_just_gone_is_waited_for() -> None:
    attempts = Attempts(api_error(403, "error while removing network: network demo has active endpoints"), None)
    retry(attempts, "Docker makes the network", "node1")
    assert attempts.count == 2
