"""The identity over time and under damage: what is remade, what is refused, what a kill leaves."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pki_sample import contents, sample, verify

from provision.errors import Exit, PreflightRefused
from provision.inventory.model import Cluster
from provision.pki import files
from provision.planes.etcd import pki
from provision.planes.etcd.pki import Authority, Identity

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return sample(tmp_path)


@pytest.mark.parametrize(("days", "fit"), [(794, True), (796, False), (900, False)])
def test_a_leaf_is_renewed_thirty_days_before_its_end(cluster: Cluster, days: int, fit: bool) -> None:
    pki.make(cluster, NOW)
    later = NOW + timedelta(days=days)
    before = Identity.read(cluster, later)
    assert (before.get(pki.CONTROLLER_DOCKER) is not None) is fit
    after = pki.make(cluster, later).get(pki.CONTROLLER_DOCKER)
    assert after is not None
    assert pki.expiry(after.certificate) > later + timedelta(days=30)


@pytest.mark.parametrize("days", [3000, 3649, 4000])
def test_an_old_authority_signs_itself_anew_with_its_key_and_its_leaves_stay(cluster: Cluster, days: int) -> None:
    first = pki.make(cluster, NOW)
    old = (cluster.folder / "docker/ca.crt").read_bytes()
    pki.make(cluster, NOW + timedelta(days=days - 60))
    kept = (cluster.folder / "docker/node1-server.crt").read_bytes()
    later = NOW + timedelta(days=days)
    renewed = pki.make(cluster, later)
    assert renewed.missing() == ()
    assert (cluster.folder / "docker/node1-server.crt").read_bytes() == kept
    assert pki.expiry((cluster.folder / "docker/ca.crt").read_bytes()) > later + timedelta(days=855)
    assert renewed.fingerprint(Authority.DOCKER) != first.fingerprint(Authority.DOCKER)
    assert renewed.recognises(Authority.DOCKER, old)
    assert not renewed.recognises(Authority.PEER, old)
    moment = ("-attime", str(int(later.timestamp())))
    assert not verify(cluster.folder, Authority.DOCKER, "node1-server", "sslserver", *moment)


@pytest.mark.parametrize("spoil", ["truncate", "remove the key", "another's key", "open to all"])
def test_a_leaf_that_is_no_longer_fit_is_made_again(cluster: Cluster, spoil: str) -> None:
    pki.make(cluster)
    crt, key = (cluster.folder / f"docker/controller.{kind}" for kind in ("crt", "key"))
    key.chmod(0o644)
    if spoil == "truncate":
        crt.chmod(0o644)
        crt.write_bytes(crt.read_bytes()[:100])
    elif spoil == "remove the key":
        key.unlink()
    elif spoil == "another's key":
        key.write_bytes((cluster.folder / "etcd-client/controller.key").read_bytes())
    renew = ("leaf docker/controller", "renew")
    tighten = ("mode of demo/docker/controller.key", "tighten")
    expected = {"remove the key": {renew}, "open to all": {tighten}}.get(spoil, {renew, tighten})
    assert set(Identity.read(cluster).missing()) == expected
    assert pki.make(cluster).missing() == ()
    assert key.stat().st_mode & 0o777 == 0o400


def test_a_leaf_of_another_authority_is_not_taken(cluster: Cluster) -> None:
    pki.make(cluster)
    for kind in ("crt", "key"):
        (cluster.folder / f"docker/controller.{kind}").unlink()
        shutil.copy2(cluster.folder / f"etcd-client/controller.{kind}", cluster.folder / "docker")
    assert Identity.read(cluster).missing() == (("leaf docker/controller", "renew"),)


@pytest.mark.parametrize("spoil", ["truncate", "truncate the key", "remove the key", "another's key", "a folder"])
def test_a_damaged_authority_is_refused_and_left_alone(cluster: Cluster, spoil: str) -> None:
    pki.make(cluster)
    crt, key = (cluster.folder / f"etcd-peer/ca.{kind}" for kind in ("crt", "key"))
    for path in (crt, key):
        path.chmod(0o600)
    if spoil == "truncate":
        crt.write_bytes(crt.read_bytes()[:200])
    elif spoil == "truncate the key":
        key.write_bytes(key.read_bytes()[:100])
    elif spoil == "another's key":
        key.write_bytes((cluster.folder / "docker/ca.key").read_bytes())
    else:
        key.unlink()
        if spoil == "a folder":
            key.mkdir()
    before = contents(cluster)
    for action in (Identity.read, pki.make):
        with pytest.raises(PreflightRefused) as refusal:
            action(cluster)
        assert refusal.value.exit_code == Exit.REFUSED
        assert str(cluster.folder / "etcd-peer") in str(refusal.value)
        assert "copy" in str(refusal.value)
    assert contents(cluster) == before


def test_a_folder_open_to_others_is_closed(cluster: Cluster) -> None:
    pki.make(cluster)
    cluster.folder.chmod(0o755)
    (cluster.folder / "docker").chmod(0o750)
    assert Identity.read(cluster).missing() == (
        ("mode of demo", "tighten"),
        ("mode of demo/docker", "tighten"),
    )
    assert pki.make(cluster).missing() == ()
    assert cluster.folder.stat().st_mode & 0o777 == 0o700


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("point", range(0, 31, 2))
@pytest.mark.parametrize("half_written", [False, True])
def test_killed_at_any_write_it_converges(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, point: int, half_written: bool
) -> None:
    real, count = files.write, iter(range(1000))

    def fatal(path: Path, content: bytes, mode: int) -> None:
        if next(count) == point:
            if half_written:
                path.with_name(path.name + files.PARTIAL).write_bytes(content[:20])
            raise Killed
        real(path, content, mode)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write", fatal)
        with pytest.raises(Killed):
            pki.make(cluster)
    kept = {path: inode for path, (inode, _) in contents(cluster).items() if path.endswith("/ca.key")}
    assert pki.make(cluster).missing() == ()
    assert not list(cluster.folder.rglob(f"*{files.PARTIAL}"))
    after = {path: inode for path, (inode, _) in contents(cluster).items()}
    assert after.items() >= kept.items(), "an authority's key, once there, is never replaced"


def test_two_at_once_make_one_identity(cluster: Cluster) -> None:
    results: list[Identity] = []
    threads = [threading.Thread(target=lambda: results.append(pki.make(cluster))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.fingerprint(name) for result in results for name in Authority}) == len(Authority)
    assert all(result.issued == results[0].issued for result in results)


def test_a_folder_that_cannot_be_written_is_refused_with_advice(cluster: Cluster) -> None:
    cluster.folder.parent.write_text("a file in the way")
    with pytest.raises(PreflightRefused, match="must be writable by you"):
        pki.make(cluster)
