"""Clients of the Docker API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from provision.client_errors import explained
from provision.errors import Problem, StepFailed, Unanswered
from provision.waiting import attempts

if TYPE_CHECKING:
    from docker import DockerClient

T = TypeVar("T")

#: Seconds in which an attempt is repeated. Each attempt runs on another of Docker's threads.
RETRY_SECONDS = 20.0
#: Docker's message about a network that still has an endpoint. The endpoint of a removed container goes away after a
#: while: see phases/keepers.py.
LEFT_BEHIND = "has active endpoints"


def over_tls(where: str, port: int, address: str, authority: Path, certificate: Path, key: Path) -> DockerClient:
    """Return a client of node `where`, through a tunnel from the local `port`. The certificate must name `address`."""
    from docker import DockerClient
    from docker.tls import TLSConfig
    from requests.adapters import HTTPAdapter

    class Tunnelled(HTTPAdapter):
        """An adapter for a URL with the loopback address and a certificate with the node's address."""

        def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
            super().init_poolmanager(*arguments, server_hostname=address, assert_hostname=address, **keywords)

    tls = TLSConfig(client_cert=(str(certificate), str(key)), ca_cert=str(authority), verify=True)
    # A given version saves the client a request. 1.41 is the API of Docker 20.10, the last version before 23.
    client = DockerClient(base_url=f"https://127.0.0.1:{port}", tls=tls, version="1.41", timeout=60)
    # Ignore proxies and authorities from the environment: the client connects to loopback.
    client.api.trust_env = False
    client.api.mount("https://", Tunnelled(pool_maxsize=8))
    return _named(client, where)


def over_socket(where: str, path: str) -> DockerClient:
    """Return a client of node `where`, through a Unix socket. The API's version is agreed on with the daemon."""
    from docker import DockerClient

    client = DockerClient(base_url=f"unix://{path}", version="auto", timeout=60)
    client.api.trust_env = False
    return _named(client, where)


def _named(client: DockerClient, where: str) -> DockerClient:
    """Let each request, and so each error about one, name the node that was asked: see client_errors.py."""

    def mark(request: Any) -> Any:
        request.node_asked = where
        return request

    client.api.auth = mark
    return client


def asked(ask: Callable[[], T]) -> T:
    """Return Docker's answer. Unanswered, with what is wrong, if there is none, or if Docker refuses."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        return ask()
    except (DockerException, RequestException) as error:
        raise Unanswered(explained(error).what) from error


def retry(attempt: Callable[[], object], what: str, where: str) -> None:
    """Repeat `attempt` while Docker reports an internal error (5xx), or a network that still has an endpoint.

    StepFailed with Docker's last error if no attempt succeeds in time.
    """
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    words = ""
    for _ in attempts(RETRY_SECONDS, 0.2):
        try:
            attempt()
            return
        except (DockerException, RequestException) as error:
            words = explained(error).what
            if isinstance(error, APIError) and error.is_client_error() and LEFT_BEHIND not in words:
                break
    advice = "on the node: journalctl -u docker.service; then run provision again: it continues here"
    raise StepFailed(Problem(f"waited until {what}: {words}", where, advice))
