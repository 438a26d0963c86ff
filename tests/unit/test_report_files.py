"""The report in files: JUnit XML, the page, and what becomes of a file that cannot be written."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pki_sample import sample
from report_sample import BACK, REPORT, THERE

from provision.errors import Exit, Problem, UsageError
from provision.report import Report, files
from provision.report.document import Document, document, schema
from provision.report.junit import junit
from provision.report.page import page
from provision.report.topology import drawn

SCHEMA = Path(files.__file__).parent / "schema.json"


def test_the_committed_schema_is_the_generated_one() -> None:
    again = "python -m provision.report > schema.json && mv schema.json provision/report/"
    assert SCHEMA.read_text() == json.dumps(schema(), indent=2) + "\n", again


def test_what_is_printed_is_what_the_schema_describes(tmp_path: Path) -> None:
    printed = json.loads(json.dumps(document(replace(REPORT, subject=sample(tmp_path)))))
    assert Document.model_validate(printed).model_dump(mode="json") == printed
    described = schema()["properties"]
    assert set(printed) == set(described)
    assert printed["ways"][1] == {**vars(BACK)}


def test_junit_has_a_case_for_all_that_was_seen_and_one_for_the_verb() -> None:
    suite = ElementTree.fromstring(junit(REPORT)).find("testsuite")
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "4",
        "failures": "2",
        "errors": "0",
        "skipped": "1",
        "time": "3.750",
    }
    verb, passed, failed, skipped = suite
    assert (verb.get("name"), verb[0].tag, verb[0].get("message")) == ("verify", "failure", REPORT.summary)
    assert (passed.get("classname"), passed.get("name"), passed.get("time")) == (
        "overlay/tcp-and-udp",
        "node1 → node2",
        "0.500",
    )
    assert passed[0].text == "0.25 ms"
    assert failed[0].get("message") == "no answer"
    assert failed[0].text == f"{REPORT.outcomes[1].evidence}\nopen 4789"
    assert skipped[0].get("message") == "not tried: [31mno[0m images"  # XML has no way to write the others


@pytest.mark.parametrize("code", [Exit.DONE, Exit.PENDING])
def test_a_plan_is_no_failure_of_junits(code: Exit) -> None:
    suite = ElementTree.fromstring(junit(replace(REPORT, exit_code=code, outcomes=()))).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "0"
    assert suite[0][0].text == f"{REPORT.summary}\n{REPORT.changes[0]}"


def test_the_page_says_everything_and_loads_nothing(tmp_path: Path) -> None:
    text = page(replace(REPORT, subject=sample(tmp_path), bundle="/some/bundle.tar.gz"))
    for said in (
        "1 of 3 checks failed",
        "no answer",
        "open 4789",
        "two members outlive no loss",
        "/some/bundle.tar.gz",
    ):
        assert said in text
    assert "not shown" not in text  # advice of what went well
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?://", text)


def test_words_of_a_daemon_are_no_markup_on_the_page() -> None:
    text = page(replace(REPORT, summary="<i>1</i>", problems=(Problem("<u>", "<s>", "<em>"),)))
    assert not re.findall(r"<(?:script|u|s|em|i)>|<b>new", text)


def test_a_report_of_nothing_is_a_page_too() -> None:
    assert "nothing to change" in page(Report("plan", "nothing to change"))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 20])
def test_no_node_of_the_picture_hides_another_and_all_are_on_it(tmp_path: Path, count: int) -> None:
    cluster = sample(tmp_path)
    first = cluster.nodes[0]
    nodes = tuple(replace(first, name=f"node{n}", address=f"192.0.2.{n}") for n in range(count))
    drawing = drawn(replace(cluster, nodes=nodes), ())
    assert len(drawing.lines) == count * (count - 1) / 2
    for one in drawing.boxes:
        assert abs(one.x) + 86 <= drawing.width / 2
        assert abs(one.y) + 32 <= drawing.height / 2
        assert [o for o in drawing.boxes if o != one and abs(o.x - one.x) < 172 and abs(o.y - one.y) < 64] == []


def test_a_line_is_closed_when_one_way_is_and_says_which(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    names = [node.name for node in cluster.nodes[:2]]
    ways = (replace(THERE, source=names[0], target=names[1]), replace(BACK, source=names[1], target=names[0]))
    line = drawn(cluster, ways).lines[0]
    assert (line.state, line.lost) == ("closed", f"{names[1]} → {names[0]}")
    assert drawn(cluster, ways[:1]).lines[0].label == "0.25 ms"
    assert drawn(cluster, ()).lines[0].state == "unknown"


def test_files_are_written_whole_and_beside_nothing_else(tmp_path: Path) -> None:
    wanted = {"junit": tmp_path / "a.xml", "html": tmp_path / "a.html"}
    assert files.written(REPORT, wanted) == REPORT
    assert wanted["junit"].read_text() == junit(REPORT)
    assert wanted["html"].read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.xml"]


def test_a_file_that_cannot_be_written_is_a_warning_and_the_report_goes_on(tmp_path: Path) -> None:
    report = files.written(REPORT, {"junit": tmp_path / "gone" / "a.xml"})
    (warning,) = report.warnings[len(REPORT.warnings) :]
    assert str(warning).startswith(f"--junit {tmp_path}/gone/a.xml: not written: No such file or directory")


@pytest.mark.parametrize("name", ["inventory.yml", "no-such-folder/a.html", "folder.html"])
def test_a_file_that_can_be_none_is_refused_before_anything_is_done(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match="--html"):
        files.checked("html", str(tmp_path / name), files.FORMATS["html"])
