"""``python -m quant_conformance.export_matrix [--out docs/zoo.md] [--model NAME …]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quant_conformance.export_matrix.cross import COLUMNS, cross, markdown
from quant_conformance.files import write_text
from quant_conformance.models.zoo import CONFIGS, MODELS


def main(
    out: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model.")] = None,
    config: Annotated[list[str] | None, typer.Option(help="Only this config.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 2,
) -> None:
    """Take every model through every config, mode and backend, and print the table."""
    cells = cross(model or list(MODELS), config or list(CONFIGS), COLUMNS, jobs)
    text = markdown(cells)
    if out is None:
        typer.echo(text)
    else:
        write_text(out, text)
    if any(cell.error is not None or cell.wrong for cell in cells.values()):
        raise typer.Exit(1)


typer.run(main)
