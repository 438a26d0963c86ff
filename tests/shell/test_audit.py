"""The audit, with a service of advisories of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from audit import NOBODY, judged

ROOT = Path(__file__).parents[2]


@contextmanager
def service(advisories: dict[str, list[dict[str, object]]], status: int = 200) -> Iterator[str]:
    """Serve what OSV would say of a package, by its name; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = advisories.get(asked["package"]["name"])
            answer = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def audited(url: str) -> tuple[int, str]:
    """The exit code, and all that was said."""
    locked = ROOT / "requirements/build.txt"
    command = [sys.executable, ROOT / "tests/audit.py", "-r", locked, "--vulnerability-service=osv", f"--osv-url={url}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_packages_without_an_advisory_are_counted() -> None:
    with service({}) as url:
        code, said = audited(url)
    assert (code, said[:33]) == (0, "audit: no vulnerability is known ")


def test_a_known_vulnerability_fails() -> None:
    fixed = {
        "package": {"name": "pluggy", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "99"}]}],
    }
    with service({"pluggy": [{"id": "PYSEC-0000-1", "summary": "made up", "affected": [fixed]}]}) as url:
        code, said = audited(url)
    assert code == 1
    assert "pluggy 1." in said
    assert ": PYSEC-0000-1, mended in 99\n" in said


def test_that_nobody_answers_is_told_and_no_failure() -> None:
    with service({}) as url:
        pass
    code, said = audited(url)
    assert (code, said.startswith(NOBODY)) == (0, True), said
    with service({}, status=503) as url:
        code, said = audited(url)
    assert (code, said.startswith(NOBODY)) == (0, True), said


def test_an_audit_that_breaks_otherwise_fails() -> None:
    code, said = audited("no-url")
    assert code == 1
    assert "MissingSchema" in said


def test_a_service_that_knows_no_package_has_audited_none(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {"name": "pluggy", "skip_reason": "not found"}
    assert judged([unknown]) is None
    assert capsys.readouterr().out.startswith(NOBODY)
    known = {"name": "rich", "version": "1", "vulns": []}
    assert judged([known, unknown]) == "audit: not everything could be looked up: pluggy"
