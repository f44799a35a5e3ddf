"""What the report of a run says of each backend; the attributes are what the templates show."""

from __future__ import annotations

from dataclasses import dataclass

from quant_conformance.report.html.board import Counts
from quant_conformance.report.html.histogram import Histogram
from quant_conformance.report.html.number_line import Line
from quant_conformance.report.html.words import Tone
from quant_conformance.report.samples import Sample
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import CaseResult, Verdict


@dataclass(frozen=True)
class Failure:
    """A failure, with the elements that show it.

    Attributes:
        result: the verdict.
        sample: some wrong elements, if there is an answer of the right shape.
        repro: the command that explains it.
    """

    result: CaseResult
    sample: Sample | None
    repro: str


@dataclass(frozen=True)
class Kind:
    """Failures of one cause.

    Attributes:
        anchor: its anchor, unique in the page.
        title: how many there are of what, and where.
        verdict: the verdict on them.
        cause: the text that they share, empty for wrong elements.
        diagnosis: known bugs that explain them.
        shown: failures with their elements.
        lines: further ones, of which only the text is shown.
        more: how many are not listed at all.
    """

    anchor: str
    title: str
    verdict: Verdict
    cause: str
    diagnosis: tuple[str, ...]
    shown: tuple[Failure, ...]
    lines: tuple[CaseResult, ...]
    more: int


@dataclass(frozen=True)
class Known:
    """Failures that are expected for one reason.

    Attributes:
        reason: the reason.
        link: where it is documented.
        address: the link, if it can be followed from anywhere.
        cases: how many there are.
        clauses: the clauses that they test, most frequent first.
        example: one of them.
    """

    reason: str
    link: str | None
    address: str | None
    cases: int
    clauses: tuple[str, ...]
    example: Failure


@dataclass(frozen=True)
class Policy:
    """A choice that the specification leaves open.

    Attributes:
        name: the policy.
        choices: what was followed and in how many cases, most frequent first.
        documented: what the backend says it follows, or None.
        differs: whether it follows anything else.
    """

    name: str
    choices: tuple[tuple[str, int], ...]
    documented: str | None
    differs: bool


@dataclass(frozen=True)
class BackendPart:
    """All that the report says of one backend; the attributes are what the template shows."""

    anchor: str
    run: Run
    total: Counts
    families: tuple[Counts, ...]
    tone: Tone
    status: str
    policies: tuple[Policy, ...]
    diagnosis: tuple[str, ...]
    kinds: tuple[Kind, ...]
    known: tuple[Known, ...]
    more_known: int
    lines: tuple[Line, ...]
    histograms: tuple[Histogram, ...]
    right_outputs: tuple[Histogram, ...]
    unsupported: tuple[tuple[str, int], ...]
    more_unsupported: int

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Anchor and title of each section that there is, in their order."""
        found: list[tuple[str, str, object]] = [
            ("failures", "Failures", self.kinds or self.diagnosis),
            ("known", "Known failures", self.known),
            ("families", "Families", True),
            ("policies", "Policies", self.policies),
            ("lines", "Number lines", self.lines),
            ("distances", "How far off", self.histograms or self.right_outputs),
            ("clauses", "Clauses", True),
            ("unsupported", "Unsupported", self.unsupported),
        ]
        return [(f"{self.anchor}-{name}", title) for name, title, there in found if there]

    def family(self, name: str) -> Counts | None:
        """Returns the counts of a family, None if it was not asked."""
        return next((counts for counts in self.families if counts.name == name), None)
