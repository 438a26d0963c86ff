"""The report as programs read it: what --json prints, and its schema."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from provision.core.outcome import Outcome, Status
from provision.core.reach import Flow
from provision.errors import Exit, Problem
from provision.report import Report


class Made(BaseModel):
    """One change, planned or made."""

    model_config = ConfigDict(extra="forbid")
    where: str = Field(description="a node, `controller`, or `cluster`")
    phase: str
    resource: str
    action: str
    diff: str = Field(description="a unified diff; for a secret, its digests only")
    note: str
    stops: list[str] = Field(description="running containers that the change stops and that nothing starts again")
    consent: str = Field(description="what a person has to agree to; empty where nobody is asked")
    restarts: bool = Field(description="whether the change interrupts something that runs now")


class Seen(BaseModel):
    """The result of one check in one place."""

    model_config = ConfigDict(extra="forbid")
    check: str
    where: str
    status: Status
    evidence: str
    advice: str
    seconds: float
    way: Flow | None = Field(description="what was sent from one node to another, if the check is about that")
    about: str = Field(description="the purpose of the check")


class Document(BaseModel):
    """The result of one verb. Each table that the verb shows is one more key, with a list of rows."""

    model_config = ConfigDict(extra="allow", title="Report of overlay-provision")
    __pydantic_extra__: dict[str, list[dict[str, str]]]

    #: Raised when a field is removed or changes its meaning, not when a field is added.
    version: Literal[1] = 1
    verb: str
    cluster: str = Field(description="empty if no inventory was read")
    exit_code: int = Field(description="; ".join(f"{code.value}: {code.name.lower()}" for code in Exit))
    summary: str
    changes: list[Made]
    outcomes: list[Seen] = Field(description="the result of each check in each place, in the order of the checks")
    ways: list[Flow] = Field(description="what was sent from node to node, and whether it arrived")
    warnings: list[Problem]
    problems: list[Problem]
    seconds: dict[str, float] = Field(description="the time that each phase took")
    bundle: str = Field(description="path of the archive with diagnostics of the nodes; empty if none was written")


def document(report: Report) -> dict[str, Any]:
    """Return what --json prints."""
    tables = {table.name: [dict(zip(table.columns, row, strict=True)) for row in table.rows] for table in report.tables}
    whole = Document(
        verb=report.verb,
        cluster=report.subject.name if report.subject else "",
        exit_code=report.exit_code,
        summary=report.summary,
        changes=[Made(**asdict(change), restarts=change.restarts) for change in report.changes],
        outcomes=[_seen(outcome) for outcome in report.outcomes],
        ways=list(report.flows),
        warnings=list(report.warnings),
        problems=list(report.problems),
        seconds=dict(report.times),
        bundle=report.bundle,
        **tables,
    )
    return whole.model_dump(mode="json")


def _seen(outcome: Outcome) -> Seen:
    values = asdict(replace(outcome, flow=None))
    del values["flow"]
    return Seen(**values, way=outcome.flow)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Document.model_json_schema(
        mode="serialization"
    )
