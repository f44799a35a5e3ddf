"""The command ``check-export``."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib import import_module, util
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from quant_conformance.errors import UsageError
from quant_conformance.files import check_reports, write_reports
from quant_conformance.gate.document import GateDocument
from quant_conformance.report.gate_table import print_document


class Mode(StrEnum):
    """Of the quantizer."""

    GRAPH = "graph"
    EAGER = "eager"


class Target(StrEnum):
    """What is exported."""

    COREAI = "coreai"
    COREML = "coreml"


class Sums(StrEnum):
    """dtype of sums."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


_NEEDS = {
    "torch": "torch",
    "torchao": "torch",
    "scipy": "conformance",
    "coreai": "coreai",
    "coreai_torch": "coreai",
    "coremltools": "coreml",
}
"""Module -> the extra that installs it."""

RECORDING = ("torch", "torchao", "scipy")
"""What it takes to prepare a model and to record it."""


def check_export(
    model: Annotated[
        str, typer.Argument(help="module:factory or path/file.py:factory; see docs/gate.md.")
    ],
    config: Annotated[Path | None, typer.Option(help="Quantizer config (YAML).")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Overrides the config's.")] = None,
    backend: Annotated[Target, typer.Option(help="What to export.")] = Target.COREAI,
    cast_16bit: Annotated[
        bool, typer.Option("--cast-16bit", help="Export a program that computes in 16 bits.")
    ] = False,
    accumulate: Annotated[
        Sums, typer.Option(help="dtype in which the target is known to make its sums.")
    ] = Sums.FLOAT32,
    data: Annotated[
        str | None, typer.Option(help="file.npz or module:loader; the last pass is judged.")
    ] = None,
    artifact: Annotated[
        Path | None, typer.Option(help="Judge this .aimodel or .mlpackage; export nothing.")
    ] = None,
    min_quantized: Annotated[
        str | None,
        typer.Option(
            help="Least share of the parameters of products, convolutions and embeddings "
            "that must be quantized, such as 95%."
        ),
    ] = None,
    allow_unlikely: Annotated[
        list[str] | None,
        typer.Option(help="Tensor (or glob) that may lie outside the probabilistic bound."),
    ] = None,
    repro: Annotated[Path, typer.Option(help="Folder for reproductions of what is wrong.")] = Path(
        "repro"
    ),
    json: Annotated[Path | None, typer.Option(help="Write the document here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write an HTML report here.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0.01, help="Seconds for the runtime to load, and to run.")
    ] = 120.0,
) -> None:
    """Export a model and hold each tensor of the file to what correct arithmetic can produce."""
    check_reports((json, html))
    wanted = None if min_quantized is None else share(min_quantized)
    if artifact is not None:
        backend = _kind_of(artifact)
    exporters = ["coreai", "coreai_torch"] if backend is Target.COREAI else ["coremltools"]
    require("check-export", [*RECORDING, *exporters])
    check = import_module("quant_conformance.gate.check")
    subject = import_module("quant_conformance.gate.recording.subject")
    loaded = subject.load_subject(model, data)
    chosen = subject.load_config(config, None if mode is None else mode.value)
    if loaded.prepared is not None and (config is not None or mode is not None):
        raise UsageError(f"{model} is prepared already: --config and --mode say nothing about it")
    question = check.Question(backend.value, cast_16bit, accumulate.value, artifact, repro, timeout)
    document: GateDocument = check.check_export(
        loaded, None if loaded.prepared is not None else chosen, question
    )
    if loaded.prepared is None:
        document.config = str(config) if config is not None else "default"
    report = import_module("quant_conformance.report.html")
    facts = report.gather_facts(["quant-conformance", *sys.argv[1:]], report.now())
    document.facts = {"cpu": facts.cpu, "commit": facts.commit, "command": facts.command}
    allow(document, allow_unlikely or ())
    if wanted is not None:
        demand(document, wanted)
    found = document.to_dict()
    try:
        print_document(document, Console() if sys.stdout.isatty() else Console(width=110))
    finally:
        written = write_reports(
            [
                (json, lambda: jsonlib.dumps(found, indent=1, allow_nan=False) + "\n"),
                (html, lambda: str(report.gate_html_text(found, date=facts.date))),
            ]
        )
    raise typer.Exit(1 if document.failed else 0 if written else 2)


def allow(document: GateDocument, names: Sequence[str]) -> None:
    """Lets tensors pass that are only unlikely.

    Args:
        document: what was found; its layers are changed.
        names: names of tensors, or globs.

    Raises:
        UsageError: a name that allows nothing.
    """
    for name in names:
        chosen = [layer for layer in document.layers if fnmatchcase(layer.name, name)]
        unlikely = [layer for layer in chosen if layer.verdict == "unlikely"]
        if not unlikely:
            raise UsageError(f"--allow-unlikely {name!r}: no tensor of that name is unlikely")
        for layer in unlikely:
            layer.verdict = "admissible"
            layer.detail = f"{layer.detail} (allowed)"


def share(text: str) -> float:
    """A share as people write it: ``95%`` or ``0.95``.

    Raises:
        UsageError: anything else.
    """
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise UsageError(f"--min-quantized {text!r}: allowed are 0% to 100%, or 0 to 1")
    return number


def demand(document: GateDocument, wanted: float) -> None:
    """Lets a model fail of which less is quantized than wanted.

    Args:
        document: what was found; its shares are changed.
        wanted: least share of the parameters.

    Raises:
        UsageError: it was not counted.
    """
    if document.shares is None:
        raise UsageError(
            "--min-quantized: what of this model is quantized could not be counted; its forward "
            "does something that torch cannot follow"
        )
    document.shares = replace(document.shares, wanted=wanted)


def _kind_of(artifact: Path) -> Target:
    for suffix, target in ((".aimodel", Target.COREAI), (".mlpackage", Target.COREML)):
        if artifact.suffix == suffix:
            if not artifact.is_dir():
                raise UsageError(f"there is no folder {artifact}")
            return target
    raise UsageError(f"{artifact} is neither an .aimodel nor an .mlpackage")


def require(command: str, modules: Sequence[str]) -> None:
    """Refuses a command whose modules are not installed.

    Args:
        command: its name.
        modules: names in the table of modules and extras.

    Raises:
        UsageError: some are missing; the text has the line that installs them.
    """
    missing = [name for name in modules if util.find_spec(name) is None]
    if missing:
        extras = ",".join(dict.fromkeys(["conformance", *(_NEEDS[name] for name in missing)]))
        raise UsageError(
            f"{command} needs {', '.join(missing)}; install with: "
            f"pip install 'quant-conformance[{extras}]'"
        )
