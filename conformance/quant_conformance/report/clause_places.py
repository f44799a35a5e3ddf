"""Where each clause stands: the text, the functions, the oracle, the cases and the mutants.

``python -m quant_conformance.report.clause_places`` prints docs/clauses.md; a test holds the file
to it, and every clause to having a place of each kind or a reason for having none.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from quant_conformance.mutants import MUTANTS
from quant_conformance.verdicts.clauses import spec_clauses
from quant_vectors import load

CITED: Final = re.compile(r"\b([A-Z][A-Z0-9]*-\d+)(?: to ([A-Z][A-Z0-9]*-\d+))?\b")
"""A clause, or the first and the last of a range."""

EXEMPT: Final[Mapping[tuple[str, str], str]] = {
    **{
        (f"PLACE-{number}", "oracle"): "placements are lists made by hand (docs/placement.md)"
        for number in range(1, 14)
    },
    ("BN-5", "oracle"): "what is folded shows in the placements, which are made by hand",
    ("SPEC-1", "oracle"): "the oracle takes specs that are legal",
    ("SPEC-2", "oracle"): "the oracle takes specs that are legal",
    ("SPEC-3", "oracle"): "the oracle takes specs that are legal",
    ("SPEC-4", "oracle"): "the oracle takes specs that are legal",
    ("SPEC-5", "oracle"): "the oracle takes specs that are legal",
    ("SPEC-6", "oracle"): "codes in use are a declaration, which the oracle shares",
    ("SPEC-7", "oracle"): "granularities are a declaration, which the oracle shares",
    ("FMT-4", "oracle"): "names are a declaration, which the oracle shares",
    ("Q-8", "oracle"): "the oracle takes qparams that are legal",
    **{
        (f"INT-{number}", kind): "follows with a vector set of its own for integer layers"
        for number in range(1, 13)
        for kind in ("cases", "mutants")
    },
    ("ADM-12", "oracle"): "verdicts compare with the sets, which the oracle gives (ADM-11)",
}
"""(clause, kind of place) -> why it has none there."""

KINDS: Final = ("function", "oracle", "cases", "mutants")


@dataclass(frozen=True)
class Places:
    """Where a clause stands.

    Attributes:
        functions: Functions and classes whose docstring names it.
        oracle: Likewise in the oracle, modules included.
        cases: How many cases of the frozen set list it.
        mutants: How many mutants break it.
    """

    functions: tuple[str, ...]
    oracle: tuple[str, ...]
    cases: int
    mutants: int

    def missing(self) -> list[str]:
        """The kinds of place that it does not have."""
        found = (self.functions, self.oracle, self.cases, self.mutants)
        return [kind for kind, place in zip(KINDS, found, strict=True) if not place]


def clause_places() -> dict[str, Places]:
    """Every clause of SPEC.md with its places."""
    reference = _folder("quant_reference")
    functions = _named(reference, skip="oracle")
    for clause, names in _named(_folder("quant_torch")).items():
        if clause.startswith(("BN-", "PLACE-", "LIFE-")):
            functions.setdefault(clause, []).extend(names)
    oracle = _named(reference / "oracle", modules=True)
    cases = Counter(clause for case in load() for clause in case.clauses)
    mutants = Counter(clause for mutant in MUTANTS for clause in mutant.clauses)
    return {
        clause: Places(
            tuple(functions.get(clause, ())),
            tuple(oracle.get(clause, ())),
            cases[clause],
            mutants[clause],
        )
        for clause in spec_clauses()
    }


def expanded(text: str) -> set[str]:
    """The clauses that a text names, ranges taken apart."""
    found: set[str] = set()
    for first, last in CITED.findall(text):
        found.add(first)
        chapter, _, start = first.rpartition("-")
        if last and last.rpartition("-")[0] == chapter:
            found |= {f"{chapter}-{n}" for n in range(int(start), int(last.rpartition("-")[2]) + 1)}
    return found


def table() -> str:
    """docs/clauses.md."""
    lines = [
        "# Clauses and their places",
        "",
        "Made by `make clauses`; a test compares. Counts may have grown since. Every clause of",
        "[SPEC.md](../reference/quant_reference/SPEC.md) stands in a docstring of what carries it",
        "out, in the oracle, in cases of the frozen vectors and in mutants that these catch. Where",
        "one is missing, the reason stands in its place.",
        "",
        "| clause | carried out by | oracle | cases | mutants |",
        "|---|---|---|--:|--:|",
    ]
    for clause, places in clause_places().items():
        shown = (
            _names(places.functions), _names(places.oracle), str(places.cases), str(places.mutants)
        )  # fmt: skip
        cells = [
            EXEMPT.get((clause, kind), "missing") if kind in places.missing() else text
            for kind, text in zip(KINDS, shown, strict=True)
        ]
        lines.append(f"| {clause} {spec_clauses()[clause].title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _names(names: tuple[str, ...], most: int = 3) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no package {package}")
    return Path(spec.origin).parent


def _named(folder: Path, *, skip: str = "", modules: bool = False) -> dict[str, list[str]]:
    """Clause -> the functions and classes of a package whose docstrings name it, by file."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        if skip and skip in path.relative_to(folder).parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, text in _docstrings(tree, path.stem, modules):
            for clause in sorted(expanded(text)):
                names = found.setdefault(clause, [])
                if name not in names:
                    names.append(name)
    return found


def _docstrings(
    tree: ast.AST, name: str, modules: bool, inside: bool = False
) -> Iterator[tuple[str, str]]:
    """(name of the function, class or attribute, docstring) pairs."""
    body = getattr(tree, "body", [])
    own = ast.get_docstring(tree) if isinstance(tree, _DOCUMENTED) else None
    if own and (modules or inside):
        yield name, own
    previous: ast.AST | None = None
    for node in body if isinstance(body, list) else []:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from _docstrings(
                node, f"{name}.{node.name}" if inside else node.name, modules, True
            )
        elif isinstance(node, ast.Expr) and isinstance(previous, ast.Assign | ast.AnnAssign):
            target = previous.targets[0] if isinstance(previous, ast.Assign) else previous.target
            if isinstance(node.value, ast.Constant) and isinstance(target, ast.Name):
                yield (f"{name}.{target.id}" if inside else target.id), str(node.value.value)
        previous = node


_DOCUMENTED = (ast.Module, ast.FunctionDef, ast.ClassDef)


if __name__ == "__main__":
    print(table(), end="")
