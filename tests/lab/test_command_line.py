"""The command line on bare hosts: what it refuses, and the exit codes."""

from __future__ import annotations

import json
import re
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import Fab
from observe import document, run

from provision.lab import Lab

pytestmark = pytest.mark.lab


def test_a_plan_on_bare_hosts_is_pending_and_changes_nothing(lab: Lab, fab: Fab) -> None:
    first, second = (fab(lab, "plan", "--exit-code", "--json") for _ in range(2))
    assert (first.returncode, second.returncode) == (7, 7), first.stderr
    plans = [json.loads(result.stdout)["changes"] for result in (first, second)]
    assert plans[0] == plans[1]
    assert {change["where"] for change in plans[0]} == {"controller", "node1", "node2", "cluster"}


def test_a_missing_inventory_is_a_mistake_of_usage(lab: Lab, fab: Fab, tmp_path: Path) -> None:
    result = fab(lab, "plan", inventory=tmp_path / "none.yml")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_an_unknown_verb_is_fabrics_own_error(lab: Lab, fab: Fab) -> None:
    assert fab(lab, "provisoin").returncode == 1


def test_191_hosts_that_were_never_provisioned_are_said_to_be_that_and_nothing_more(lab: Lab, fab: Fab) -> None:
    for verb in ("status", "verify"):
        result = fab(lab, verb)
        assert result.returncode == 5, result.stderr
        assert result.stdout.splitlines()[-1] == "not provisioned yet: fab provision"
        assert len(result.stdout.splitlines()) < 40


def test_200_etcd_by_its_version_comes_from_a_mirror_once_and_is_pushed_from_the_cache(
    lab: Lab, fab: Fab, tmp_path: Path
) -> None:
    assert lab.base.etcd
    found = re.fullmatch(r"etcd-v(?P<version>.*)-linux-(?P<cpu>.*)\.tar\.gz", lab.base.etcd.name)
    assert found
    version, cpu = found["version"], found["cpu"]
    place = tmp_path / f"v{version}" / lab.base.etcd.name
    place.parent.mkdir()
    place.symlink_to(lab.base.etcd)
    digits = sha256(place.read_bytes()).hexdigest()
    inventory = lab.folder / "version.yml"

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as mirror:
        url = f"http://127.0.0.1:{mirror.server_port}"
        etcd = f"etcd: {{version: {version}, mirror: '{url}', sha256: {{{cpu}: {digits}}}}}"
        inventory.write_text(re.sub(r"etcd:\n  source: .*", etcd, lab.inventory.read_text()))
        thread = Thread(target=mirror.serve_forever, args=(0.01,))
        thread.start()
        planned = fab(lab, "plan", "--exit-code", inventory=inventory)
        mirror.shutdown()
        thread.join()
    assert planned.returncode == 7, planned.stdout + planned.stderr
    address = f"{url}/v{version}/{lab.base.etcd.name}"
    assert f"controller: downloading {address}\n" in planned.stderr
    # Nobody listens there any more.
    document(fab(lab, "provision", "--json", inventory=inventory))
    assert f"etcd Version: {version}" in run(lab, "node2", "etcd --version")

    inventory.write_text(inventory.read_text().replace(digits, "a" * 64))
    for verb in ("plan", "preflight"):
        refused = fab(lab, verb, inventory=inventory)
        assert refused.returncode == 3, refused.stdout + refused.stderr
        words = refused.stdout + refused.stderr
        assert f"cannot download {address}: Connection refused" in words
        assert "Traceback" not in words
    # What needs no release is not refused for the want of one.
    for words in (("status",), ("reset", "--yes")):
        done = fab(lab, *words, inventory=inventory)
        assert done.returncode == 0, done.stdout + done.stderr
