"""A report in which something passed, failed and was not tried, with words that are no markup."""

from __future__ import annotations

from provision.core.outcome import Outcome
from provision.core.plan import Change
from provision.core.reach import Flow
from provision.errors import Exit, Problem
from provision.report import Report

THERE, BACK = Flow("node1", "node2", "ping on demo", 0.25), Flow("node2", "node1", "ping on demo", came=False)
ABOUT = "Words and datagrams cross."
REPORT = Report(
    "verify",
    "1 of 3 checks failed",
    Exit.VERIFICATION_FAILED,
    changes=(Change("node1", "docker", "unit docker.service", "restart", diff="@@ -1 +1 @@\n-old\n+<b>new</b>\n"),),
    outcomes=(
        Outcome("overlay/tcp-and-udp", "node1 → node2", "passed", "0.25 ms", "not shown", 0.5, THERE, ABOUT),
        Outcome(
            "overlay/tcp-and-udp",
            "node2 → node1",
            "failed",
            "no answer\n<script>alert(1)</script>",
            "open 4789",
            flow=BACK,
            about=ABOUT,
        ),
        Outcome("app/counter", "cluster", "warning", "not tried: \x00\x1b[31mno\x1b[0m images", "name them"),
    ),
    flows=(THERE, BACK),
    warnings=(Problem("two members outlive no loss", "inventory.yml:3", "add a third"),),
    times=(("facts", 1.25), ("proof", 2.5)),
)
