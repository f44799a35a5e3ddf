"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Tier(StrEnum):
    """How much to run."""

    QUICK = "quick"
    FULL = "full"


Families = Annotated[list[str] | None, typer.Option("--family", help="Only this family.")]
Flags = Annotated[list[str] | None, typer.Option("--flag", help="Only cases with this flag.")]
Clauses = Annotated[list[str] | None, typer.Option("--clause", help="Only cases of this clause.")]
Cases = Annotated[list[str] | None, typer.Option("--case", help="Only this case id or glob.")]
Vectors = Annotated[
    Path | None, typer.Option("--vectors", help="Folder of a vector set of your own.")
]
