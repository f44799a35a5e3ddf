"""pytest plugin: ``pytest --quant-backend module:Class`` makes every case a test.

A test's name is its case id; family, flags and clauses are its markers (``Q-2`` as ``Q_2``).
Unsupported cases are skipped, expected failures are xfailed, and a failure shows what ``explain``
shows. A backend that cannot be opened, or of which nothing was judged, is a usage error (exit
code 4). Without paths on the command line only the cases are collected. A stale expectation is
not reported here, since a test does not know what else ran; ``quant-conformance run`` does that.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from quant_conformance.runner.questions import Executor, Question
    from quant_conformance.verdicts.expectations import Expectations
    from quant_vectors import Case, VectorSet


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options; without --quant-backend the plugin does nothing."""
    group = parser.getgroup("quant-conformance", "quantization conformance")
    add = group.addoption
    add("--quant-backend", action="append", default=[], metavar="NAME|module:Class|file.py:Class")
    add("--quant-tier", choices=("quick", "full"), default="quick", help="how much to run")
    add("--quant-family", action="append", default=[], metavar="FAMILY", help="only this family")
    add("--quant-case", action="append", default=[], metavar="GLOB", help="only these case ids")
    add("--quant-vectors", metavar="DIR", type=Path, help="a vector set of your own")
    add("--quant-expectations", metavar="TOML", type=Path, help="known failures of the backend")
    add("--quant-timeout", type=float, default=10.0, metavar="SECONDS", help="limit per case")


def pytest_configure(config: pytest.Config) -> None:
    """Switches the plugin on if a backend is named."""
    if config.getoption("--quant-backend"):
        config.pluginmanager.register(Cases(config), "quant-conformance-cases")


def marker(name: str) -> str:
    """Makes an identifier of a family, flag or clause, as ``-m`` wants it: ``Q-2`` -> ``Q_2``."""
    return re.sub(r"\W", "_", name)


class Cases:
    """Collects the cases of every named backend."""

    def __init__(self, config: pytest.Config) -> None:
        from quant_conformance.errors import ConformanceError
        from quant_conformance.runner.loading import check_reference
        from quant_conformance.runner.selection import Selection, load_set, select_cases
        from quant_vectors import VectorError

        option = config.getoption
        self._references: list[str] = list(dict.fromkeys(option("--quant-backend")))
        self._labels = {_label(reference) for reference in self._references}
        try:
            for reference in self._references:
                check_reference(reference)
            self.vectors = load_set(option("--quant-vectors"))
            selection = Selection(
                option("--quant-tier"),
                families=option("--quant-family"),
                patterns=option("--quant-case"),
            )
            self.cases = select_cases(self.vectors, selection)
        except (ConformanceError, VectorError) as error:
            raise pytest.UsageError(str(error)) from error
        names = {marker(n) for c in self.cases for n in (c.family, *c.flags, *c.clauses)}
        for name in sorted(names):
            config.addinivalue_line("markers", f"{name}: conformance cases of this name")
        self._judged: dict[str, bool] = {}
        self._only_cases = config.args_source is not pytest.Config.ArgsSource.ARGS
        self._sessions: list[BackendSession] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Hangs one collector per backend under the session."""
        report = yield
        if isinstance(collector, pytest.Session):
            own = [] if self._only_cases else report.result
            report.result = [*own, *(self._collector(collector, r) for r in self._references)]
        return report

    def _collector(self, session: pytest.Session, reference: str) -> BackendCollector:
        backend = BackendSession(session.config, reference, self.vectors, self.cases)
        self._sessions.append(backend)
        backend.open()
        collector: BackendCollector = BackendCollector.from_parent(
            session, name=backend.label, nodeid=backend.label
        )
        collector.backend = backend
        return collector

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes of which backend something was judged; with xdist, where the results arrive."""
        label = report.nodeid.partition("::")[0]
        if label in self._labels and report.when == "call":
            done = not report.skipped or hasattr(report, "wasxfail")
            self._judged[label] = done or self._judged.get(label, False)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Ends the backends' processes; a session that judged nothing does not pass."""
        for backend in self._sessions:
            backend.close()
        yield
        if self._unjudged() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Names the backends of which nothing was judged."""
        for label in self._unjudged():
            terminalreporter.write_line(
                f"quant-conformance: nothing was judged of {label}: every case was skipped "
                "(-rs shows why)",
                red=True,
            )

    def _unjudged(self) -> list[str]:
        return [label for label, judged in self._judged.items() if not judged]


def _label(reference: str) -> str:
    """Names a backend where pytest would name a file."""
    return Path(reference).name if ".py:" in reference else reference


class BackendSession:
    """One backend, opened when its first case is run."""

    def __init__(
        self, config: pytest.Config, reference: str, vectors: VectorSet, cases: list[Case]
    ) -> None:
        self.label = _label(reference)
        self.vectors = vectors
        self.cases = cases
        self._config = config
        self._reference = reference
        self._executor: Executor | None = None
        self._expectations: Expectations | None = None

    def run(self, index: int) -> None:
        """Runs a case: returns if it passes, else raises what pytest calls the outcome."""
        from quant_conformance.report.explain import explain
        from quant_conformance.verdicts.judge import judge
        from quant_conformance.verdicts.verdict import FAILURES, Verdict

        executor = self.open()
        case = self.cases[index]
        for _, outcome in executor.run([index]):
            if outcome.kind == "left_out":
                pytest.skip("left out of this tier")
            if outcome.kind == "invalid":
                raise CaseFailedError(f"{case.id} of the vectors is invalid: {outcome.text}")
            result = judge(self.vectors, case, outcome)
            if self._expectations is not None:
                (result,), _ = self._expectations.apply([result], [], executor.hello.versions)
            if result.verdict is Verdict.EXPECTED:
                pytest.xfail(result.detail)
            if result.verdict is Verdict.UNSUPPORTED:
                pytest.skip(result.detail)
            if result.verdict in FAILURES:
                raise CaseFailedError(explain(self.vectors, case, outcome, result))

    def open(self) -> Executor:
        """Starts the backend, unless it runs already.

        Raises:
            pytest.UsageError: It cannot be asked, which is said once and not by every case.
        """
        if self._executor is None:
            self._executor = self._start()
        hello = self._executor.hello
        if hello.problem is not None:
            said = "" if hello.problem == "usage" else f"{hello.problem}: "
            raise pytest.UsageError(f"backend {self._reference}: {said}{hello.text}")
        return self._executor

    def _start(self) -> Executor:
        from quant_conformance.errors import ConformanceError
        from quant_conformance.runner.in_process import open_executor
        from quant_conformance.runner.loading import is_builtin
        from quant_conformance.runner.questions import Limits
        from quant_conformance.verdicts.expectations import builtin_expectations, load_expectations

        known: Path | None = self._config.getoption("--quant-expectations")
        timeout: float = self._config.getoption("--quant-timeout")
        tier: str = self._config.getoption("--quant-tier")
        questions: list[Question] = [(case, self.vectors.inputs(case)) for case in self.cases]
        try:
            if known is not None:
                self._expectations = load_expectations(known)
            elif is_builtin(self._reference):
                self._expectations = builtin_expectations(self._reference)
            return open_executor(self._reference, questions, Limits(timeout=timeout, tier=tier))
        except ConformanceError as error:
            raise pytest.UsageError(str(error)) from error

    def close(self) -> None:
        """Ends the backend's process, if it has one."""
        if self._executor is not None:
            self._executor.__exit__(None, None, None)
            self._executor = None


class CaseFailedError(Exception):
    """A case that failed; the text is the explanation."""


class BackendCollector(pytest.Collector):
    """The cases of one backend."""

    backend: BackendSession

    def collect(self) -> Iterator[CaseItem]:
        """Yields a test per case."""
        for index, case in enumerate(self.backend.cases):
            item: CaseItem = CaseItem.from_parent(self, name=case.id)
            item.backend, item.index = self.backend, index
            for name in dict.fromkeys((case.family, *case.flags, *case.clauses)):
                item.add_marker(marker(name))
            yield item


class CaseItem(pytest.Item):
    """One case as a test."""

    backend: BackendSession
    index: int

    def runtest(self) -> None:
        """Asks the backend and judges its answer."""
        self.backend.run(self.index)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Shows the explanation in place of a traceback through this plugin."""
        if isinstance(excinfo.value, CaseFailedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        """Names the backend where pytest would name a file."""
        return self.backend.label, None, self.name
