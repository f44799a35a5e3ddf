"""Results for other tools: JUnit XML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from quant_conformance.runner import Run
from quant_conformance.tables import COLUMNS, diagnosis_lines, policy_lines, rows
from quant_conformance.verdicts import CaseResult, Verdict

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_JUNIT_CHILD = {
    Verdict.UNLIKELY: "failure",
    Verdict.UNDECIDED: "failure",
    Verdict.WRONG: "failure",
    Verdict.CRASHED: "error",
    Verdict.TIMED_OUT: "error",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.UNAVAILABLE: "skipped",
    Verdict.EXPECTED: "skipped",
}


def junit_text(runs: Sequence[Run]) -> str:
    """Returns JUnit XML: a suite per backend, a test per case; a stale entry is a failure."""
    root = Xml.Element("testsuites", name="quant-conformance")
    for run in runs:
        suite = Xml.SubElement(root, "testsuite", name=run.backend)
        for result in run.results:
            _junit_case(suite, run.backend, result)
        for line in run.stale:
            case = Xml.SubElement(suite, "testcase", classname=run.backend, name="expectations")
            Xml.SubElement(case, "failure", message=_xml(line), type="stale")
        kinds = [child.tag for case in suite for child in case]
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(kinds.count("failure")))
        suite.set("errors", str(kinds.count("error")))
        suite.set("skipped", str(kinds.count("skipped")))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _junit_case(suite: Xml.Element, backend: str, result: CaseResult) -> None:
    classname = f"{backend}.{result.family}"
    case = Xml.SubElement(suite, "testcase", classname=classname, name=_xml(result.id))
    tag = _JUNIT_CHILD.get(result.verdict)
    if tag is None:
        return
    message = _xml(f"{result.verdict.value}: {result.detail}")
    if tag == "skipped":
        Xml.SubElement(case, tag, message=message)
        return
    child = Xml.SubElement(case, tag, message=message, type=result.verdict.value)
    child.text = f"clauses: {', '.join(result.clauses)}\nflags: {', '.join(result.flags)}"


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)


def markdown_text(runs: Sequence[Run], *, failures: int = 20) -> str:
    """Returns a Markdown report: the scoreboard, the policies, and the first failures of each.

    Args:
        runs: the runs.
        failures: how many failures to list per backend.
    """
    lines = ["# quant-conformance", ""]
    if runs:
        vectors = runs[0].vectors
        lines += [f"Vectors {vectors['version']}, sha256 `{vectors['digest'][:16]}`.", ""]
    header = ["backend", "family", *(column.title for column in COLUMNS)]
    lines.append(_row(header))
    lines.append("|" + "---|" * 2 + "--:|" * len(COLUMNS))
    for run in runs:
        lines += [_row([run.backend, row.label, *row.cells]) for row in rows(run)]
    for run in runs:
        lines += _markdown_run(run, failures)
    return "\n".join(lines) + "\n"


def _markdown_run(run: Run, limit: int) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
    lines = ["", f"## {run.backend}", ""]
    if versions:
        lines += [versions, ""]
    if run.problem is not None:
        return [*lines, f"{run.problem}: {_inline(run.text)}"]
    lines += [f"- policy {line}" for line in policy_lines(run)]
    lines += [f"- {_inline(line)}" for line in diagnosis_lines(run)]
    lines += [f"- stale expectation: {_inline(line)}" for line in run.stale]
    shown = run.failures[:limit]
    lines += [f"- **{r.verdict.value}** `{r.id}` — {_inline(r.detail)}" for r in shown]
    if len(run.failures) > limit:
        lines.append(f"- … and {len(run.failures) - limit} more")
    if lines[-1] == "":
        lines.append("Nothing to report.")
    return lines


def _inline(text: str) -> str:
    return re.sub(r"([\\`*_<|])", r"\\\1", " ".join(text.split()))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
