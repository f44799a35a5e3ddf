"""SPEC.md and the docstrings name the same clauses.

That each stands everywhere it has to is computed in tests/conformance/report/test_clause_places.py.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import quant_reference

PACKAGE = Path(quant_reference.__file__).parent
CLAUSE = re.compile(r"\b([A-Z][A-Z0-9]*-\d+)\b")
TITLES = re.findall(
    r"^### ([A-Z][A-Z0-9]*-\d+)(?= )", (PACKAGE / "SPEC.md").read_text(encoding="utf-8"), re.M
)


def docstrings(path: Path, *, of_modules: bool) -> Iterator[str]:
    """Docstrings of a file, those of attributes (a string behind an assignment) included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module) and not of_modules:
            body = node.body[1:] if ast.get_docstring(node) else node.body
        else:
            body = getattr(node, "body", [])
        if isinstance(body, list):
            for statement in body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield str(statement.value.value)


@functools.cache
def cited(*, oracle: bool, of_modules: bool, package: Path = PACKAGE) -> set[str]:
    """Clauses named one by one, or as the ends of a range, in docstrings."""
    found: set[str] = set()
    for path in package.rglob("*.py"):
        if oracle or "oracle" not in path.parts:
            for text in docstrings(path, of_modules=of_modules):
                found |= set(CLAUSE.findall(text))
    return found


def test_the_titles_are_numbered_without_gaps() -> None:
    assert len(TITLES) == len(set(TITLES)) > 50
    families: dict[str, list[int]] = {}
    for title in TITLES:
        family, _, index = title.rpartition("-")
        families.setdefault(family, []).append(int(index))
    for family, indices in families.items():
        assert indices == list(range(1, len(indices) + 1)), family


def test_no_docstring_names_a_clause_that_does_not_exist() -> None:
    unknown = {
        clause
        for clause in cited(oracle=True, of_modules=True)
        if clause.rpartition("-")[0] in {title.rpartition("-")[0] for title in TITLES}
    } - set(TITLES)
    assert not unknown


def test_clauses_in_spec_md_refer_to_clauses_in_spec_md() -> None:
    text = (PACKAGE / "SPEC.md").read_text(encoding="utf-8")
    families = {title.rpartition("-")[0] for title in TITLES}
    for clause in CLAUSE.findall(text):
        assert clause in TITLES or clause.rpartition("-")[0] not in families, clause
