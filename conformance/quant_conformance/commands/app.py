"""The commands of ``quant-conformance``, as typer reads them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import asdict, replace
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import quant_vectors
from quant_conformance.commands.certificate import (
    Certificate,
    Pin,
    check_pin,
    verify_certificate,
)
from quant_conformance.commands.check_export import check_export
from quant_conformance.commands.gating import (
    FailOn,
    MinJudged,
    Require,
    WriteExpectations,
    check_new_expectations,
    global_options,
)
from quant_conformance.commands.options import Cases, Clauses, Families, Flags, Tier, Vectors
from quant_conformance.commands.record import record
from quant_conformance.commands.wire import (
    BackendCmd,
    BackendPipe,
    ProgramOptions,
    init_backend,
    judge_command,
    program_references,
    questions,
)
from quant_conformance.converters.command import converters
from quant_conformance.errors import UsageError, unknown
from quant_conformance.files import check_reports, write_reports
from quant_conformance.protocol import missing_packages, pip_line
from quant_conformance.registry import BACKENDS
from quant_conformance.report.certificate import certificate as make_certificate
from quant_conformance.report.certificate import certificate_text
from quant_conformance.report.diff import KINDS, compare_results
from quant_conformance.report.documents import junit_text, markdown_text
from quant_conformance.report.explain import explain as explain_case
from quant_conformance.report.known_failures import known_failures_text
from quant_conformance.report.progress import progress
from quant_conformance.report.results import read_results, results_text
from quant_conformance.report.scoreboard import print_run, print_summary
from quant_conformance.runner.gates import conditions, unmet
from quant_conformance.runner.loading import load_class
from quant_conformance.runner.notes import unjudged
from quant_conformance.runner.questions import Limits
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner, ask_one
from quant_conformance.runner.selection import Selection, load_set, select_cases
from quant_conformance.verdicts.clauses import spec_clauses
from quant_conformance.verdicts.expectations import load_expectations
from quant_vectors import FROZEN

PLAIN_WIDTH = 110
"""Columns of the scoreboard where there is no terminal to ask."""

app = typer.Typer(
    help="Judges quantization backends against frozen vectors, bit for bit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(global_options)
vectors_app = typer.Typer(help="Work on the frozen vectors.", no_args_is_help=True)
app.add_typer(vectors_app, name="vectors")


_EXAMPLES = {
    "run": "run --backend my_backend.py:MyBackend --html report.html",
    "list": "list cases --clause QP-4",
    "explain": "explain quantize/shape/int8-sym-zp-scalar --backend torch",
    "diff": "diff yesterday.json today.json",
    "mutants": "mutants --family qparams --tier quick",
    "check-export": "check-export my_net.py:net --backend coreml",
    "record": "record my_model.py:perceptron --out vectors",
    "converters": "converters --operation conv2d --out conv2d.md",
    "generate": "vectors generate --check",
    "questions": "questions --out questions --family quantize --format raw",
    "init-backend": "init-backend my-backend --lang cpp",
    "verify-certificate": "verify-certificate certificate.json --sample 100",
    "judge": "judge questions/answers --name my-chip",
}


def _example(command: str) -> str:
    """What the help of a command ends in."""
    return f"Example: quant-conformance {_EXAMPLES[command]}"


class Listing(StrEnum):
    """What can be listed."""

    BACKENDS = "backends"
    CASES = "cases"
    CLAUSES = "clauses"
    FLAGS = "flags"


Backends = Annotated[
    list[str] | None,
    typer.Option("--backend", help="A name, module:Class or path/file.py:Class; all by default."),
]
Isolate = Annotated[
    bool | None,
    typer.Option(
        "--isolate/--no-isolate",
        help="Run backends in child processes; by default yours and those that may crash.",
        show_default=False,
    ),
]
Timeout = Annotated[float, typer.Option(min=0.01, help="Seconds per case (in child processes).")]


@app.command(epilog=_example("run"))
def run(
    backend: Backends = None,
    backend_cmd: BackendCmd = None,
    backend_pipe: BackendPipe = None,
    program_options: ProgramOptions = None,
    tier: Annotated[Tier, typer.Option(help="How much to run.")] = Tier.QUICK,
    family: Families = None,
    flag: Flags = None,
    clause: Clauses = None,
    case: Cases = None,
    vectors: Vectors = None,
    json: Annotated[Path | None, typer.Option(help="Write results here.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a Markdown report here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write an HTML report here.")] = None,
    expectations: Annotated[
        Path | None, typer.Option(help="Known failures (TOML) of the one backend that is run.")
    ] = None,
    require: Require = None,
    min_judged: MinJudged = 0,
    fail_on: FailOn = None,
    write_expectations: WriteExpectations = None,
    certificate: Certificate = None,
    pin: Pin = None,
    isolate: Isolate = None,
    timeout: Timeout = 10.0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Backends at a time; by default one per CPU.")
    ] = None,
) -> None:
    """Run backends and print the scoreboard."""
    programs = program_references(backend_cmd, backend_pipe, program_options, timeout)
    backend = [*(backend or []), *programs] or None
    references = list(dict.fromkeys(backend or BACKENDS))
    for option, file in (
        ("--expectations", expectations),
        ("--write-expectations", write_expectations),
        ("--certificate", certificate),
    ):
        if file is not None and len(references) != 1:
            raise UsageError(f"{option} belongs to one backend; name it with --backend")
    check_new_expectations(write_expectations)
    check_reports((json, junit, markdown, html, write_expectations, certificate))
    # Loaded only where it is asked for, and before the run, which may take minutes.
    if html is not None:
        import_module("quant_conformance.report.html")
    loaded = load_set(vectors)
    check_pin(loaded, pin)
    selection = Selection(tier.value, family or (), flag or (), clause or (), case or ())
    chosen = select_cases(loaded, selection)
    wanted = conditions(chosen, require or (), min_judged, fail_on or ())
    if jobs is None:
        jobs = 1 if isolate is False else min(os.cpu_count() or 1, len(references))
    plan = Plan(
        Limits(timeout=timeout, tier=tier.value),
        isolate,
        jobs,
        None if expectations is None else load_expectations(expectations),
        frozen=vectors is None,
    )
    console = _console()
    broken: list[OSError] = []  # nobody reads on: that ends the printing, and not the run
    with progress(references, len(chosen)) as listener:

        def show(done: Run) -> None:
            if broken:
                return
            try:
                with listener.paused():
                    print_run(done, console)
                    sys.stdout.flush()  # what is piped is read while the others run
            except OSError as error:
                broken.append(error)

        runs = Runner(loaded, chosen, plan, listener).run_all(references, show)
    runs = [replace(done, unmet=tuple(unmet(done.results, wanted))) for done in runs]

    def known_failures() -> str:
        return known_failures_text(runs[0], [entry.id for entry in loaded.cases])

    def certified() -> str:
        conditions_asked = {
            "require": require or [],
            "min_judged": min_judged,
            "fail_on": fail_on or [],
        }
        return certificate_text(
            make_certificate(runs[0], asdict(selection), conditions_asked, expectations)
        )

    def html_report() -> str:
        pages = import_module("quant_conformance.report.html")
        facts = pages.gather_facts(["quant-conformance", *sys.argv[1:]], pages.now())
        return str(pages.html_text(runs, facts, vectors))

    # What took minutes is seen even where a report cannot be written, and the other way round.
    try:
        if broken:
            raise broken[0]
        print_summary(runs, console, vectors)
    finally:
        written = write_reports(
            [
                (json, lambda: results_text(runs)),
                (junit, lambda: junit_text(runs, named=backend is not None)),
                (markdown, lambda: markdown_text(runs)),
                (html, html_report),
                (write_expectations, known_failures),
                (certificate, certified),
            ]
        )
    code = exit_code(runs, named=backend is not None)
    raise typer.Exit(code or (0 if written else 2))


def exit_code(runs: list[Run], *, named: bool) -> int:
    """Returns the exit code of a run.

    Args:
        runs: what was run.
        named: whether the user named the backends. Of one that was named, something has to be
            judged: if it is not installed or supports no case, that is a mistake (2), so that no
            gate passes without having judged anything.
    """
    if any(run.failed for run in runs):
        return 1
    return 2 if unjudged(runs, named=named) else 0


@app.command("list", epilog=_example("list"))
def list_things(
    what: Listing,
    family: Families = None,
    flag: Flags = None,
    clause: Clauses = None,
    vectors: Vectors = None,
) -> None:
    """List backends, cases, clauses or flags, one per line."""
    if what is Listing.BACKENDS:
        for name in BACKENDS:
            cls = load_class(name)
            hint = f"  (install with: {pip_line(cls)})" if missing_packages(cls) else ""
            print(f"{name}{hint}")
        return
    loaded = load_set(vectors)
    cases = select_cases(loaded, Selection("full", family or (), flag or (), clause or ()))
    if what is Listing.CASES:
        for entry in cases:
            print(f"{entry.id}  {entry.comment}")
    elif what is Listing.CLAUSES:
        counts = Counter(name for entry in cases for name in entry.clauses)
        for name, text in spec_clauses().items():
            print(f"{name:<9} {counts[name]:>5} cases  {text.title}")
    else:
        counts = Counter(name for entry in cases for name in entry.flags)
        for name in sorted(counts):
            bug = loaded.flags.get(name, {}).get("bug", "")
            print(f"{name:<28} {counts[name]:>5} cases  {bug}")


@app.command(epilog=_example("explain"))
def explain(
    case: Annotated[str, typer.Argument(help="Id of the case.")],
    backend: Annotated[
        str | None,
        typer.Option(
            help="A name, module:Class or path/file.py:Class; without one, the case alone."
        ),
    ] = None,
    vectors: Vectors = None,
    isolate: Isolate = None,
    timeout: Timeout = 10.0,
) -> None:
    """Show what a case asks, the right answer, the backend's, and the clause."""
    loaded = load_set(vectors)
    entry = loaded.case(case)
    if backend is None:
        print(explain_case(loaded, entry), end="")
        return
    plan = Plan(Limits(timeout=timeout), isolate)
    outcome, result = ask_one(loaded, entry, backend, plan)
    print(explain_case(loaded, entry, outcome, result), end="")


@vectors_app.command(epilog=_example("generate"))
def generate(
    check: Annotated[bool, typer.Option("--check", help="Compare, write nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder; the shipped set by default.")] = None,
    version: Annotated[
        list[str] | None, typer.Option("--set", help="Only this set; v1 where --out is given.")
    ] = None,
) -> None:
    """Rebuild the frozen vectors from the reference, byte for byte."""
    generator = import_module("quant_conformance.generate")
    chosen = version or (list(FROZEN) if out is None else [FROZEN[0]])
    for name in chosen:
        if name not in FROZEN:
            raise unknown("set", name, FROZEN)
    if out is not None and len(chosen) > 1:
        raise UsageError("--out is the folder of one set; name it with --set")
    shipped = Path(quant_vectors.__file__).parent
    codes = [generator.generate(out or shipped / name, check, name) for name in chosen]
    raise typer.Exit(max(codes))


@app.command(epilog=_example("diff"))
def diff(
    before: Annotated[Path, typer.Argument(help="Results of an earlier run (--json).")],
    after: Annotated[Path, typer.Argument(help="Results of a later run.")],
) -> None:
    """Compare two results files; exit 1 if a case got worse."""
    changes = compare_results(read_results(before), read_results(after))
    for change in changes:
        print(str(change))
    counts = Counter(change.kind for change in changes)
    print(", ".join(f"{counts[kind]} {kind}" for kind in KINDS))
    raise typer.Exit(1 if counts["worse"] else 0)


@app.command(epilog=_example("mutants"))
def mutants(
    family: Families = None,
    tier: Annotated[Tier, typer.Option(help="How much to run.")] = Tier.FULL,
) -> None:
    """Test the vectors: does every known bug get caught? Exit 1 on a survivor."""
    module = import_module("quant_conformance.mutants")
    raise typer.Exit(module.main(tuple(family or ()), tier.value))


app.command("check-export", epilog=_example("check-export"))(check_export)
app.command("questions", epilog=_example("questions"))(questions)
app.command("init-backend", epilog=_example("init-backend"))(init_backend)
app.command("judge", epilog=_example("judge"))(judge_command(run))
app.command("verify-certificate", epilog=_example("verify-certificate"))(verify_certificate)
app.command("record", epilog=_example("record"))(record)
app.command("converters", epilog=_example("converters"))(converters)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
