"""Whether a vulnerability is known of what a lock names: `python tests/audit.py -r FILE…`, as for pip-audit.

Who knows the advisories is on the network. That nobody could be asked is told, and no failure. It is told of a service
too that knows no package at all, as a mirror of the index may: to pip-audit by itself all of them would be clean.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: How pip-audit ends without a report when its service is away. A certificate that does not fit is not among them.
UNREACHABLE = re.compile(r"(Connection|Proxy|Service)Error|Timeout|network may be blocking this service")
NOBODY = "audit: NOT DONE, nobody who knows the advisories can be asked from here"


def main(words: Sequence[str]) -> str | None:
    """Return what is wrong; say on standard output what is not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ("--disable-pip", "--progress-spinner=off", "--format=json", f"--output={report}")
        command = (sys.executable, "-m", "pip_audit", *options, *words)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if report.exists():
            return judged(json.loads(report.read_text())["dependencies"])
    *_, last = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    if not UNREACHABLE.search(last):
        return f"audit: pip-audit failed:\n{done.stderr}"
    print(f"{NOBODY}: {last}")
    return None


def judged(packages: Sequence[dict[str, Any]]) -> str | None:
    """Return what is wrong with the packages of a report."""
    found = [
        f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none yet'}"
        for package in packages
        for one in package.get("vulns", ())
    ]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if found:
        return "\n".join(("audit: known vulnerabilities; try script/lock --upgrade", *found))
    if len(unknown) == len(packages):
        print(f"{NOBODY}: of {len(packages)} packages it knows none")
        return None
    if unknown:
        return f"audit: not everything could be looked up: {', '.join(unknown)}"
    print(f"audit: no vulnerability is known of {len(packages)} packages")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
