"""Runs backends on cases and judges them; whatever a backend does, the run goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

from quant_conformance.errors import UsageError
from quant_conformance.runner.in_process import open_executor
from quant_conformance.runner.loading import Hello, Problem, check_reference, is_builtin
from quant_conformance.runner.notes import notes
from quant_conformance.runner.questions import Executor, Limits, Question
from quant_conformance.runner.run import Run
from quant_conformance.runner.schedule import share, shortest_first
from quant_conformance.verdicts.answers import Answer, answers_of
from quant_conformance.verdicts.expectations import Expectations, builtin_expectations
from quant_conformance.verdicts.judge import judge, result_of
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.verdicts.verdict import (
    CaseResult,
    Verdict,
)
from quant_vectors import Case, VectorSet

_WITH_EVIDENCE = frozenset(
    {Verdict.EXACT, Verdict.ADMISSIBLE, Verdict.UNDECIDED, Verdict.UNLIKELY, Verdict.WRONG}
)
"""Verdicts on answers that can be measured: a policy's other choice is no error to measure."""


@dataclass(frozen=True)
class Plan:
    """How to run.

    Attributes:
        limits: time limits and tier.
        isolate: run in child processes; None leaves it to the backend.
        jobs: backends at a time; with more than one, each runs in its own process (so ``isolate``
            False means one at a time).
        expectations: known failures that replace the shipped ones, or None.
        frozen: whether the vectors are the shipped set. In a set of one's own, an expectation
            that no case could match is not stale but about other vectors.
    """

    limits: Limits = field(default_factory=Limits)
    isolate: bool | None = None
    jobs: int = 1
    expectations: Expectations | None = None
    frozen: bool = True


Listener = Callable[[str, CaseResult | None], None]
"""Called with (reference, result) for every case, and with None for one without a verdict."""


class Runner:
    """Runs the same cases on any number of backends.

    Args:
        vectors: the vector set that the cases come from.
        cases: the cases to run.
        plan: how to run.
        listener: is told of every result; calls never overlap.
    """

    def __init__(
        self,
        vectors: VectorSet,
        cases: Sequence[Case],
        plan: Plan | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._vectors = vectors
        self._questions: list[Question] = [(case, vectors.inputs(case)) for case in cases]
        self._plan = plan or Plan()
        self._listener = listener
        self._lock = Lock()
        self._open: list[Executor] = []
        self._cancelled = False

    def run_all(
        self, references: Sequence[str], done: Callable[[Run], None] | None = None
    ) -> list[Run]:
        """Runs every backend and returns their runs in the order given.

        Of several workers, one begins with what takes longest and the others with the rest, so
        that the first results come soon and the last worker does not end alone.

        Args:
            references: the backends.
            done: is told of every run when it ends; calls never overlap, nor with the listener's.

        Raises:
            UsageError: a backend that does not exist, before anything has run.
        """
        for reference in references:
            check_reference(reference)
        jobs = min(self._plan.jobs, len(references))
        runs: dict[int, Run] = {}

        def keep(index: int, run: Run) -> None:
            runs[index] = run
            if done is not None:
                with self._lock:
                    done(run)

        def finish(index: int) -> None:
            keep(index, self.run(references[index]))

        if jobs <= 1 or self._plan.isolate is False:
            for index, reference in enumerate(references):
                keep(index, self.run(reference))
        else:
            share(shortest_first(references), jobs, finish, self._cancel)
        return _with_unique_names(references, [runs[index] for index in range(len(references))])

    def run(self, reference: str) -> Run:
        """Runs one backend.

        Raises:
            UsageError: the backend does not exist, or a case of the set cannot be asked.
        """
        plan = self._plan
        isolate = True if plan.isolate is None and plan.jobs > 1 else plan.isolate
        expectations = plan.expectations or Expectations()
        if plan.expectations is None and is_builtin(reference):
            expectations = builtin_expectations(reference)
        executor = open_executor(reference, self._questions, plan.limits, isolate=isolate)
        with executor:
            self._open.append(executor)
            if self._cancelled:
                executor.cancel()
            hello = executor.hello
            if hello.problem == "usage":
                raise UsageError(hello.text)
            if hello.problem is not None:
                return self._unasked(reference, hello, hello.problem)
            results: list[CaseResult] = []
            answers: list[Answer] = []
            for index, outcome in executor.run(range(len(self._questions))):
                result = self._judged(index, outcome)
                if result is not None:
                    results.append(result)
                    answers += self._measured(index, outcome, result)
                self._notify(reference, result)
        judged, stale = expectations.apply(
            results, self._vectors.cases, hello.versions, frozen=plan.frozen
        )
        return replace(self._run(reference, hello, judged, stale), answers=tuple(answers))

    def _judged(self, index: int, outcome: Outcome) -> CaseResult | None:
        case, _ = self._questions[index]
        if outcome.kind == "invalid":
            raise UsageError(f"case {case.id} of the vectors is invalid: {outcome.text}")
        return None if outcome.kind == "left_out" else judge(self._vectors, case, outcome)

    def _measured(self, index: int, outcome: Outcome, result: CaseResult) -> list[Answer]:
        """The answers that a report can make evidence of."""
        if result.verdict not in _WITH_EVIDENCE:
            return []
        case, tensors = self._questions[index]
        return list(answers_of(self._vectors, case, tensors, outcome))

    def _unasked(self, reference: str, hello: Hello, problem: Problem) -> Run:
        verdict = Verdict.UNAVAILABLE if problem == "unavailable" else Verdict.CRASHED
        results = [result_of(case, verdict, hello.text) for case, _ in self._questions]
        for result in results:
            self._notify(reference, result)
        return self._run(reference, hello, results, [])

    def _run(
        self,
        reference: str,
        hello: Hello,
        results: Sequence[CaseResult],
        stale: Sequence[str],
    ) -> Run:
        vectors = {"version": self._vectors.version, "digest": self._vectors.digest}
        told: tuple[str, ...] = ()
        if hello.problem is None:
            frozen = self._plan.frozen
            told = tuple(notes(hello, results, self._vectors, frozen=frozen))
        return Run(
            hello.name,
            reference,
            hello.versions,
            vectors,
            tuple(results),
            tuple(stale),
            hello.policies,
            hello.problem,
            hello.text,
            notes=told,
        )

    def _notify(self, reference: str, result: CaseResult | None) -> None:
        if self._listener is not None:
            with self._lock:
                self._listener(reference, result)

    def _cancel(self) -> None:
        self._cancelled = True
        for executor in self._open:
            executor.cancel()


def _with_unique_names(references: Sequence[str], runs: Sequence[Run]) -> list[Run]:
    """Adds the reference to names that several backends give themselves."""
    counts = Counter(run.backend for run in runs)
    return [
        run if counts[run.backend] == 1 else replace(run, backend=f"{run.backend} ({reference})")
        for reference, run in zip(references, runs, strict=True)
    ]


def ask_one(
    vectors: VectorSet, case: Case, reference: str, plan: Plan
) -> tuple[Outcome, CaseResult]:
    """Asks one backend one case, expectations aside.

    Raises:
        UsageError: the backend does not exist, cannot be opened or leaves the case out.
    """
    question = (case, vectors.inputs(case))
    with open_executor(reference, [question], plan.limits, isolate=plan.isolate) as executor:
        if executor.hello.problem is not None:
            raise UsageError(executor.hello.text)
        outcome = next((outcome for _, outcome in executor.run([0])), None)
    if outcome is None or outcome.kind in ("left_out", "invalid"):
        reason = "it was not answered" if outcome is None else outcome.text or outcome.kind
        raise UsageError(f"{case.id} cannot be asked: {reason}")
    outcome = replace(outcome, printed=executor.printed)
    return outcome, judge(vectors, case, outcome)
