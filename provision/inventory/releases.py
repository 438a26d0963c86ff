"""etcd's releases: the versions that work, where their archives are published, and the checksums of those known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from provision.versions import Window

TABLE = Path(__file__).with_name("etcd_releases.tsv")
"""A line for each archive: version, architecture, SHA-256. Its first line names its source."""

VERSIONS = Window(lowest=((3, 4, 21), (3, 5, 5)), limit=(3, 6))
"""Earlier ones can lose data (etcd advisories of March and September 2022); 3.6 has no v2 API."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}
"""CPUs that etcd is released for: as `uname -m` names them, and as the archives' names do."""

PUBLISHED = "https://github.com/etcd-io/etcd/releases/download"
"""The address below which the archives are published."""


def archive(version: str, architecture: str) -> str:
    """Return the name of a release's archive."""
    return f"etcd-v{version}-linux-{architecture}.tar.gz"


@cache
def known() -> Mapping[str, Mapping[str, str]]:
    """Return the checksums in the table: by version, then by architecture."""
    found: dict[str, dict[str, str]] = {}
    lines = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for version, architecture, sha256 in lines[1:]:
        found.setdefault(version, {})[architecture] = sha256
    return found
