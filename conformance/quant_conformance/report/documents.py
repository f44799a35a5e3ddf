"""Results for other tools: JUnit XML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from quant_conformance.report.causes import failure_groups, general_diagnosis, spread
from quant_conformance.report.followed_rules import rule_lines
from quant_conformance.report.scoreboard_rows import occurring, policy_lines, rows
from quant_conformance.runner.notes import unjudged
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import CaseResult, Verdict

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_JUNIT_CHILD = {
    Verdict.UNLIKELY: "failure",
    Verdict.UNDECIDED: "failure",
    Verdict.WRONG: "failure",
    Verdict.CRASHED: "error",
    Verdict.TIMED_OUT: "error",
    Verdict.UNANSWERED: "failure",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.UNAVAILABLE: "skipped",
    Verdict.EXPECTED: "skipped",
}


def junit_text(runs: Sequence[Run], *, named: bool = False) -> str:
    """Returns JUnit XML: a suite per backend, a test per case.

    A stale entry is a failure, and so are an unmet condition and a backend of which nothing was
    judged.

    Args:
        runs: the runs.
        named: whether the user named the backends, as the exit code has it.
    """
    silent = {run.reference for run in unjudged(runs, named=named)}
    root = Xml.Element("testsuites", name="quant-conformance")
    for run in runs:
        suite = Xml.SubElement(root, "testsuite", name=run.backend)
        for result in run.results:
            _junit_case(suite, run.backend, result)
        for line in run.stale:
            case = Xml.SubElement(suite, "testcase", classname=run.backend, name="expectations")
            Xml.SubElement(case, "failure", message=_xml(line), type="stale")
        for line in run.unmet:
            case = Xml.SubElement(suite, "testcase", classname=run.backend, name="conditions")
            Xml.SubElement(case, "failure", message=_xml(line), type="unmet")
        if run.reference in silent:
            case = Xml.SubElement(suite, "testcase", classname=run.backend, name="judged")
            message = _xml(run.notes[0] if run.notes else f"nothing was judged: {run.text}")
            Xml.SubElement(case, "failure", message=message, type="unjudged")
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
    """Returns a Markdown report: the scoreboard, the policies, and the first failures by cause.

    Args:
        runs: the runs.
        failures: how many failures to list per backend.
    """
    lines = ["# quant-conformance", ""]
    if runs:
        vectors = runs[0].vectors
        lines += [f"Vectors {vectors['version']}, sha256 `{vectors['digest'][:16]}`.", ""]
    found = [(run, rows(run)) for run in runs]
    columns = occurring([row for _, those in found for row in those])
    header = ["backend", "family", *(column.title for column in columns)]
    lines.append(_row(header))
    lines.append("|" + "---|" * 2 + "--:|" * len(columns))
    for run, those in found:
        name = _inline(run.backend)
        lines += [_row([name, _inline(row.label), *row.cells(columns)]) for row in those]
    for run in runs:
        lines += _markdown_run(run, failures)
    return "\n".join(lines) + "\n"


def _markdown_run(run: Run, limit: int) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
    lines = ["", f"## {_inline(run.backend)}", ""]
    if versions:
        lines += [_inline(versions), ""]
    lines += [f"- condition not met: {_inline(line)}" for line in run.unmet]
    if run.problem is not None:
        return [*lines, f"{run.problem}: {_inline(run.text)}"]
    groups = failure_groups(run)
    lines += [f"- note: {_inline(line)}" for line in run.notes]
    lines += [f"- rule {_inline(line)}" for line in rule_lines(run)]
    lines += [f"- policy {_inline(line)}" for line in policy_lines(run)]
    lines += [f"- {_inline(line)}" for line in general_diagnosis(run)]
    lines += [f"- stale expectation: {_inline(line)}" for line in run.stale]
    shown = spread(groups, limit)
    for group, results in shown:
        lines += ["", f"### {_inline(group.title)}", ""]
        lines += [f"- {_inline(line)}" for line in group.diagnosis]
        lines += [f"- **{r.verdict.value}** {_code(r.id)} — {_inline(r.detail)}" for r in results]
        if len(group.results) > len(results):
            lines.append(f"- … and {len(group.results) - len(results)} more")
    if len(groups) > len(shown):
        left = sum(len(group.results) for group in groups[len(shown) :])
        lines += ["", f"… and {left} failures of {len(groups) - len(shown)} other kinds."]
    if lines[-1] == "":
        lines.append("Nothing to report.")
    return lines


def _inline(text: str) -> str:
    # An underscore inside a word is nothing special.
    return re.sub(r"([\\`*<|]|(?<!\w)_|_(?!\w)|(?<=\])\()", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Writes a case's id as code; one that holds a backtick, as text."""
    return _inline(text) if "`" in text else f"`{text}`"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
