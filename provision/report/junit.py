"""The report as JUnit XML: a test case for each outcome of a check, and one for the verb itself."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from provision.core.outcome import Outcome
from provision.errors import Exit
from provision.report import Report


def junit(report: Report) -> str:
    """Return the document. A warning is a skipped test; a failure contains its evidence and its advice."""
    cases = [_verb(report), *map(_case, report.outcomes)]
    suite = Element(
        "testsuite",
        name=f"overlay-provision {report.verb}",
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors="0",
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        time=f"{sum(seconds for _, seconds in report.times):.3f}",
    )
    suite.extend(cases)
    whole = Element("testsuites")
    whole.append(suite)
    indent(whole)
    return _printable(tostring(whole, "unicode", xml_declaration=True) + "\n")


def _verb(report: Report) -> Element:
    case = Element("testcase", classname="verb", name=report.verb)
    if report.exit_code not in (Exit.DONE, Exit.PENDING):
        SubElement(case, "failure", message=report.summary).text = "\n".join(map(str, report.problems))
    else:
        SubElement(case, "system-out").text = "\n".join([report.summary, *map(str, report.changes)])
    return case


def _case(outcome: Outcome) -> Element:
    case = Element("testcase", classname=outcome.check, name=outcome.where, time=f"{outcome.seconds:.3f}")
    first = outcome.evidence.partition("\n")[0]
    if outcome.status == "failed":
        SubElement(case, "failure", message=first).text = f"{outcome.evidence}\n{outcome.advice}"
    elif outcome.status == "warning":
        SubElement(case, "skipped", message=first)
    else:
        SubElement(case, "system-out").text = outcome.evidence
    return case


def _printable(text: str) -> str:
    """Remove characters that XML 1.0 cannot represent; a daemon's output may contain them."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
