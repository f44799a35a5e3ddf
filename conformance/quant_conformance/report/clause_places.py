"""Where each clause is: the text, the functions, the oracle, the cases and the mutants.

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
from quant_vectors import load_frozen

CITED: Final = re.compile(r"\b([A-Z][A-Z0-9]*-\d+)(?: to ([A-Z][A-Z0-9]*-\d+))?\b")
"""A clause, or the first and the last of a range."""

EXEMPT: Final[Mapping[tuple[str, str], str]] = {
    **{
        (f"PLACE-{number}", "oracle"): "placements are lists made by hand (docs/placement.md)"
        for number in range(1, 15)
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
        (f"CONV-{number}", kind): "a convention: the clauses that use it have their own"
        for number in range(1, 10)
        for kind in ("cases", "mutants")
    },
    ("CONV-4", "oracle"): "how answers are compared, which the oracle does not do",
    ("CONV-7", "oracle"): "a policy is a keyword of the function that it belongs to",
    ("CONV-8", "oracle"): "the oracle takes inputs that are legal",
    ("CONV-9", "oracle"): "how this document is written, which no function carries out",
    ("CONV-9", "function"): "how this document is written, which no function carries out",
    ("ADM-12", "oracle"): "verdicts compare with the sets, which the oracle gives (ADM-11)",
}
"""(clause, kind of place) -> why it has none there."""

_SPEC: Final = "../reference/quant_reference/SPEC.md"

KINDS: Final = ("function", "oracle", "cases", "mutants")


@dataclass(frozen=True)
class Places:
    """Where a clause is.

    Attributes:
        functions: Functions and classes whose docstring names it.
        oracle: Likewise in the oracle, modules included.
        cases: How many cases of the frozen set list it.
        mutants: How many mutants break it.
        findings: Sections of docs/findings.md that name it; a clause may have none.
    """

    functions: tuple[str, ...]
    oracle: tuple[str, ...]
    cases: int
    mutants: int
    findings: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The kinds of place that it does not have."""
        found = (self.functions, self.oracle, self.cases, self.mutants)
        return [kind for kind, place in zip(KINDS, found, strict=True) if not place]


def clause_places(findings: str = "") -> dict[str, Places]:
    """Every clause of SPEC.md with its places.

    Args:
        findings: Text of docs/findings.md, which belongs to the repository and to no package.
    """
    reference = _folder("quant_reference")
    functions = _named(reference, skip="oracle")
    for clause, names in _named(_folder("quant_torch")).items():
        if clause.startswith(("BN-", "PLACE-", "LIFE-")):
            functions.setdefault(clause, []).extend(names)
    for clause, names in _named(_folder("quant_conformance"), skip="tables").items():
        if clause.startswith("CONV-"):
            functions.setdefault(clause, []).extend(names)
    found = findings_of(findings)
    oracle = _named(reference / "oracle", modules=True)
    cases = Counter(clause for case in load_frozen() for clause in case.clauses)
    mutants = Counter(clause for mutant in MUTANTS for clause in mutant.clauses)
    return {
        clause: Places(
            tuple(functions.get(clause, ())),
            tuple(oracle.get(clause, ())),
            cases[clause],
            mutants[clause],
            found.get(clause, ()),
        )
        for clause in spec_clauses()
    }


def findings_of(text: str) -> dict[str, tuple[str, ...]]:
    """Clause -> the titles of the sections of docs/findings.md whose clauses name it."""
    found: dict[str, list[str]] = {}
    for section in re.split(r"^### ", text, flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        cited = re.search(r"^- \*\*Clauses\*\*:(.*)$", body, re.M)
        for clause in expanded(cited[1] if cited else ""):
            found.setdefault(clause, []).append(title.strip())
    return {clause: tuple(titles) for clause, titles in found.items()}


def anchor(heading: str) -> str:
    """The anchor that a heading of a Markdown page has."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def expanded(text: str) -> set[str]:
    """The clauses that a text names, ranges taken apart."""
    found: set[str] = set()
    for first, last in CITED.findall(text):
        found.add(first)
        chapter, _, start = first.rpartition("-")
        if last and last.rpartition("-")[0] == chapter:
            found |= {f"{chapter}-{n}" for n in range(int(start), int(last.rpartition("-")[2]) + 1)}
    return found


def table(findings: str = "") -> str:
    """docs/clauses.md, from the text of docs/findings.md."""
    lines = [
        "# Clauses and their places",
        "",
        "Made by `make clauses`; a test compares. Counts may have grown since. Every clause of",
        f"[SPEC.md]({_SPEC}) is named in a docstring of what carries it out, in the oracle, in",
        "cases of the frozen vectors and in mutants (known bugs) that these cases catch. Where one",
        "is missing, the reason is in its place. The findings are the sections of",
        "[findings.md](findings.md) about systems that break the clause.",
        "",
        "| clause | carried out by | oracle | cases | mutants | findings |",
        "|---|---|---|--:|--:|---|",
    ]
    for clause, places in clause_places(findings).items():
        shown = (
            _names(places.functions), _names(places.oracle), str(places.cases), str(places.mutants)
        )  # fmt: skip
        cells = [
            EXEMPT.get((clause, kind), "missing") if kind in places.missing() else text
            for kind, text in zip(KINDS, shown, strict=True)
        ]
        title = spec_clauses()[clause].title
        cells.append(", ".join(f"[{name}](findings.md#{anchor(name)})" for name in places.findings))
        linked = f"[{clause}]({_SPEC}#{anchor(f'{clause} {title}')}) {title}"
        lines.append(f"| {linked} | {' | '.join(cells)} |")
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
    found = Path("docs/findings.md")
    print(table(found.read_text(encoding="utf-8") if found.is_file() else ""), end="")
