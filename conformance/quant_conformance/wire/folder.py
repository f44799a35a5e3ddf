"""A folder of questions: files by family, and a manifest that says of which set they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quant_conformance.errors import UsageError
from quant_conformance.runner.selection import Selection
from quant_conformance.wire.formats import FORMATS
from quant_conformance.wire.model import ASKABLE, QUESTIONS_SCHEMA, Record, question_of
from quant_vectors import Case, VectorSet

MANIFEST = "questions.json"
ANSWERS = "answers"

LONGEST_MANIFEST = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a folder of questions says of itself.

    Attributes:
        fmt: name of its format.
        digest: of the vector set.
        version: of the vector set.
        selection: what was asked of it.
    """

    fmt: str
    digest: str
    version: str
    selection: Selection


def questions_by_family(
    vectors: VectorSet, cases: Sequence[Case]
) -> dict[str, list[tuple[Case, Record]]]:
    """Returns the questions that bytes can ask, by family; each has its case's place as id."""
    places = {case.id: number for number, case in enumerate(vectors.cases)}
    found: dict[str, list[tuple[Case, Record]]] = {}
    for case in cases:
        if case.operation in ASKABLE:
            question = question_of(places[case.id], case, vectors.inputs(case))
            found.setdefault(case.family, []).append((case, question))
    return found


def write_questions(
    out: Path, vectors: VectorSet, cases: Sequence[Case], selection: Selection, fmt: str
) -> dict[str, int]:
    """Writes a folder of questions and an empty one for the answers.

    Returns:
        Family to number of questions.

    Raises:
        UsageError: the folder holds something, or none of the cases can be asked so.
    """
    families = questions_by_family(vectors, cases)
    if not families:
        raise UsageError("no selected case can be asked by files; see the table in docs/wire.md")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already and holds something; name a new folder")
    (out / ANSWERS).mkdir(parents=True)
    counts: dict[str, int] = {}
    files = []
    for family, asked in families.items():
        name = family + FORMATS[fmt].suffix
        (out / name).write_bytes(FORMATS[fmt].write([record for _, record in asked]))
        counts[family] = len(asked)
        files.append({"family": family, "file": name, "questions": len(asked)})
    manifest = {
        "schema": QUESTIONS_SCHEMA,
        "format": fmt,
        "vectors": {"version": vectors.version, "digest": vectors.digest},
        "selection": {
            "tier": selection.tier,
            "families": list(selection.families),
            "flags": list(selection.flags),
            "clauses": list(selection.clauses),
            "patterns": list(selection.patterns),
        },
        "files": files,
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return counts


def read_manifest(answers: Path) -> Manifest:
    """Reads the manifest of the questions that a folder of answers lies in.

    Raises:
        UsageError: there is none, or it is not what ``questions`` writes.
    """
    path = answers.absolute().parent / MANIFEST
    if not answers.is_dir():
        raise UsageError(f"there is no folder {answers}")
    if not path.is_file():
        raise UsageError(f"{answers} has no {MANIFEST} beside it; judge it where it was asked")
    if path.stat().st_size > LONGEST_MANIFEST:
        raise UsageError(f"{path} is longer than {LONGEST_MANIFEST} bytes")
    try:
        return _manifest(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is no manifest of questions: {error!r}") from error


def _manifest(value: Mapping[str, Any]) -> Manifest:
    if value["schema"] != QUESTIONS_SCHEMA:
        raise ValueError(f"schema {value['schema']!r}; allowed: {QUESTIONS_SCHEMA}")
    chosen = value["selection"]
    lists = [chosen[name] for name in ("families", "flags", "clauses", "patterns")]
    if not all(isinstance(names, list) and all(type(n) is str for n in names) for names in lists):
        raise ValueError("the selection holds something else than lists of texts")
    return Manifest(
        str(value["format"]),
        str(value["vectors"]["digest"]),
        str(value["vectors"]["version"]),
        Selection(str(chosen["tier"]), *lists),
    )
