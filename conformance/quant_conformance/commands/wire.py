"""The commands ``questions`` and ``judge``: a backend that is asked by files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from quant_conformance.commands.gating import FailOn, MinJudged, Require, WriteExpectations
from quant_conformance.commands.options import Cases, Clauses, Families, Tier, Vectors
from quant_conformance.errors import UsageError, unknown
from quant_conformance.runner.selection import Selection, load_set, select_cases
from quant_conformance.wire.answered import Options
from quant_conformance.wire.folder import ANSWERS, read_manifest, write_questions
from quant_conformance.wire.languages import LANGUAGES, write_backend
from quant_conformance.wire.limits import Options as Limits
from quant_conformance.wire.references import reference_of

Names = list[str] | None


BackendCmd = Annotated[
    list[str] | None,
    typer.Option(help='A program that is run by the batch: "CMD {requests} {responses}".'),
]
BackendPipe = Annotated[
    list[str] | None,
    typer.Option(help="A program that reads questions from stdin and writes answers to stdout."),
]
ProgramOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--program", help="NAME=VALUE for these programs: format, memory_bytes, ...; docs/wire.md."
    ),
]


class Written(StrEnum):
    """Formats of files."""

    SAFETENSORS = "safetensors"
    NPZ = "npz"
    RAW = "raw"


def program_references(
    commands: Names, pipes: Names, options: Names, case_seconds: float
) -> list[str]:
    """Returns the references of programs that are named by their commands.

    Raises:
        UsageError: an option that there is not, or a value that it cannot have.
    """
    given: dict[str, Any] = {"case_seconds": case_seconds}
    kinds: dict[str, Any] = {
        field.name: type(getattr(Limits, field.name)) for field in fields(Limits)
    }
    for entry in options or []:
        name, equals, value = entry.partition("=")
        if name not in kinds or not equals:
            raise unknown("option of a program", entry, [f"{name}=…" for name in kinds])
        try:
            given[name] = kinds[name](value)
        except ValueError as error:
            raise UsageError(f"--program {entry}: {error}") from error
    limits = Limits(**given)
    return [
        *(reference_of("cmd", command, limits) for command in commands or []),
        *(reference_of("pipe", command, limits) for command in pipes or []),
    ]


def questions(
    out: Annotated[Path, typer.Option(help="Folder of the questions; it is made.")],
    family: Families = None,
    tier: Annotated[Tier, typer.Option(help="How much to ask.")] = Tier.QUICK,
    clause: Clauses = None,
    case: Cases = None,
    fmt: Annotated[Written, typer.Option("--format", help="Of the files.")] = Written.RAW,
    vectors: Vectors = None,
) -> None:
    """Write the questions without answers, for a system in any language, on any machine."""
    loaded = load_set(vectors)
    selection = Selection(tier.value, family or (), (), clause or (), case or ())
    chosen = select_cases(loaded, selection)
    counts = write_questions(out, loaded, chosen, selection, fmt.value)
    for name, count in counts.items():
        print(f"{name:<16} {count:>5} questions")
    left = len(chosen) - sum(counts.values())
    if left:
        print(f"{left} more cases cannot be asked by files; the judge counts them as unsupported")
    print(f"put the answers into {out / ANSWERS}")


def init_backend(
    out: Annotated[Path, typer.Argument(help="Folder of the new backend; it is made.")],
    lang: Annotated[str, typer.Option(help=f"One of {', '.join(LANGUAGES)}.")],
    example: Annotated[
        bool, typer.Option("--example", help="The worked example instead of stubs.")
    ] = False,
) -> None:
    """Write a backend in another language that compiles, with every operation unsupported."""
    for name in write_backend(out, lang, example=example):
        print(out / name)
    language = LANGUAGES[lang]
    print(f"cd {out}")
    if language.build:
        print(language.build)
    print(f'quant-conformance run --backend-pipe "{language.run}"')


def judge_command(run: Callable[..., None]) -> Callable[..., None]:
    """Makes the command ``judge`` of the command ``run``, whose reports it writes."""

    def judge(
        answers: Annotated[Path, typer.Argument(help="Folder of the answers.")],
        name: Annotated[str, typer.Option(help="What reports call the system.")] = "answers",
        partial: Annotated[
            Names, typer.Option("--partial", help="Glob of cases that may be unanswered.")
        ] = None,
        tier: Annotated[
            Tier | None, typer.Option(help="What has to be answered; by default what was asked.")
        ] = None,
        family: Families = None,
        vectors: Vectors = None,
        json: Annotated[Path | None, typer.Option(help="Write results here.")] = None,
        junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
        markdown: Annotated[Path | None, typer.Option(help="Write a Markdown report.")] = None,
        html: Annotated[Path | None, typer.Option(help="Write an HTML report here.")] = None,
        expectations: Annotated[
            Path | None, typer.Option(help="Known failures (TOML) of the system.")
        ] = None,
        require: Require = None,
        min_judged: MinJudged = 0,
        fail_on: FailOn = None,
        write_expectations: WriteExpectations = None,
    ) -> None:
        """Judge answers that came back as files; reports and exit codes are those of run."""
        asked = read_manifest(answers).selection
        options = Options("" if vectors is None else str(vectors), name, partial or [])
        call: dict[str, Any] = {
            "backend": [reference_of("answers", str(answers), options)],
            "tier": Tier(asked.tier) if tier is None else tier,
            "family": family or list(asked.families),
            "clause": list(asked.clauses),
            "case": list(asked.patterns),
            "vectors": vectors,
            "json": json,
            "junit": junit,
            "markdown": markdown,
            "html": html,
            "expectations": expectations,
            "require": require,
            "min_judged": min_judged,
            "fail_on": fail_on,
            "write_expectations": write_expectations,
            "jobs": 1,
        }
        run(**call)

    return judge
