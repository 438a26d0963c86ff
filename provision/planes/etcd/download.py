"""A download onto the controller: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from provision.errors import PreflightRefused, Problem
from provision.planes.etcd import cache

if TYPE_CHECKING:
    import urllib3

CONNECT_SECONDS, SILENT_SECONDS = 10, 30
"""How long a server may take to accept a connection, and to send the next bytes."""

REDIRECTS = 5
LARGEST = 200_000_000
"""Bytes. A release of etcd has about 20 MB; whatever is larger than this is something else."""


def download(url: str, sha256: str, file: Path, say: Callable[[str], None], *, advice: str) -> None:
    """Put what is at an address into a file, if it has this checksum. PreflightRefused says what was there instead.

    Proxies are those of the environment (https_proxy, http_proxy, no_proxy).
    """
    import urllib3

    say(f"downloading {url}")
    try:
        response = _answer(url, advice)
        with response, cache.new(file) as part:
            found, size = hashlib.sha256(), 0
            for block in response.stream(1 << 16, decode_content=False):
                found.update(block)
                part.write(block)
                size += len(block)
                if size > LARGEST:
                    raise _refused(f"{url} goes on after {_megabytes(size)}: this is no release of etcd", advice)
                _tell(say, url, size, len(block), int(response.headers.get("Content-Length") or 0))
            if found.hexdigest() != sha256:
                what = f"{url} is not what was expected: {size} bytes with sha256 {found.hexdigest()}, not {sha256}"
                raise _refused(what, "a proxy or a login page may have answered in its place; try again, or " + advice)
    except urllib3.exceptions.HTTPError as error:
        raise _refused(f"the download of {url} was interrupted: {_reason(error)}", f"try again, or {advice}") from None


def _answer(url: str, advice: str) -> urllib3.BaseHTTPResponse:
    """Return the answer that has the content, after redirects. No redirect leads from https to http."""
    import urllib3

    place = url
    for _ in range(REDIRECTS + 1):
        try:
            response = _pool(place).request(
                "GET", place, headers={"Accept-Encoding": "identity"}, preload_content=False
            )
        except urllib3.exceptions.HTTPError as error:
            what = f"cannot download {place}{_by_way_of(place)}: {_reason(error)}"
            raise _refused(what, _about_the_proxy(place) + advice) from None
        following = response.get_redirect_location()
        if not following:
            break
        response.release_conn()
        before, place = place, urljoin(place, following)
        if urlsplit(place).scheme not in ("https", urlsplit(before).scheme):
            raise _refused(f"{before} redirects to {place}, which is not https", advice)
    else:
        raise _refused(f"{url} redirects more than {REDIRECTS} times, at last to {place}", advice)
    if response.status != HTTPStatus.OK:
        known = {status.value: f" {status.phrase}" for status in HTTPStatus}
        raise _refused(f"{place} answers {response.status}{known.get(response.status, '')}", advice)
    return response


def _pool(url: str) -> urllib3.PoolManager:
    import urllib3

    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENT_SECONDS)
    proxy = _proxy(url)
    if not proxy:
        return urllib3.PoolManager(timeout=timeout, retries=False)
    parts = urlsplit(proxy)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    headers = urllib3.make_headers(proxy_basic_auth=login)
    return urllib3.ProxyManager(proxy, timeout=timeout, retries=False, proxy_headers=headers)


def _proxy(url: str) -> str:
    """Return the proxy that the environment names for an address, or nothing."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    if not proxy or proxy_bypass(parts.netloc):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _by_way_of(url: str) -> str:
    """Name the proxy without its login, which is a secret."""
    proxy = _proxy(url)
    return f" through the proxy {proxy.rpartition('@')[2].rpartition('/')[2]}" if proxy else ""


def _about_the_proxy(url: str) -> str:
    parts = urlsplit(url)
    words = f"correct {parts.scheme}_proxy in the environment, or name {parts.hostname} in no_proxy; or "
    return words if _proxy(url) else ""


def _reason(error: BaseException | None) -> str:
    """Return the innermost reason that the system, TLS or HTTP gives, in words."""
    import urllib3

    reasons = []
    while error is not None:
        match error:
            case ssl.SSLCertVerificationError():
                reasons.append(f"its certificate is not trusted: {error.verify_message}")
            case ssl.SSLError():
                reasons.append("it does not speak TLS as expected")
            case urllib3.exceptions.TimeoutError() | TimeoutError():
                reasons.append("no answer in time")
            case urllib3.exceptions.IncompleteRead():
                reasons.append(f"the connection ended {_megabytes(error.expected or 0)} too early")
            case urllib3.exceptions.ProxySchemeUnknown():
                reasons.append("the proxy is no http proxy")
            case OSError() if error.strerror:
                reasons.append(error.strerror)
            case OSError() if str(error).startswith("Tunnel connection failed: "):
                reasons.append(f"the proxy answers {str(error).partition(': ')[2]}")
        error = error.__cause__ or error.__context__
    return reasons[-1] if reasons else "the connection broke"


def _tell(say: Callable[[str], None], url: str, size: int, more: int, whole: int) -> None:
    """Say how much has come, at each tenth of the whole."""
    if whole and size * 10 // whole > (size - more) * 10 // whole:
        say(f"downloading {url.rpartition('/')[2]}: {_megabytes(size)} of {_megabytes(whole)}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _refused(what: str, advice: str) -> PreflightRefused:
    return PreflightRefused(Problem(what, "controller", advice))
