"""The options of ``run`` and ``judge`` that a release is gated by, and ``--version``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from quant_conformance.errors import UsageError
from quant_conformance.runner.gates import FAIL_ON

Require = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FAMILY[=N|=all]",
        help="Fail unless at least N cases of this family were judged; one without a number.",
    ),
]
MinJudged = Annotated[
    int, typer.Option(min=0, help="Fail unless at least this many cases were judged.")
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(metavar="VERDICT", help=f"Fail on a case that is {', '.join(FAIL_ON)}."),
]
WriteExpectations = Annotated[
    Path | None,
    typer.Option(help="Write the failures here as known ones (TOML), reasons left to fill in."),
]


def check_new_expectations(path: Path | None) -> None:
    """Refuses to write over a file that may hold reasons somebody wrote.

    Raises:
        UsageError: there is such a file.
    """
    if path is not None and path.is_file():
        raise UsageError(f"--write-expectations: {path} exists already; name a new file")


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"quant-conformance {version('quant-conformance')}")
        except PackageNotFoundError:
            print("quant-conformance (not installed: run from its sources)")
        raise typer.Exit


def global_options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options of the command itself."""
