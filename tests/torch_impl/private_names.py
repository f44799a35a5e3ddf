"""Private names of torch in a source text: imports of them, and attributes of torch's modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def _is_private(path: str) -> bool:
    parts = path.split(".")
    # What follows "ops" are names of operations; those with an underscore are no less public.
    parts = parts[: parts.index("ops")] if "ops" in parts else parts
    return any(p.startswith("_") and not p.endswith("__") for p in parts)


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def private_names(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of each use; a name in a string, such as ``"torch._C"``, counts, too."""
    tree = ast.parse(source)
    known = {"torch": "torch"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.partition(".")[0] == "torch" and name.asname:
                    known[name.asname] = name.name
                if name.name.partition(".")[0] == "torch" and _is_private(name.name):
                    yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            for name in node.names:
                full = f"{node.module}.{name.name}"
                known[name.asname or name.name] = full
                if _is_private(full):
                    yield node.lineno, full
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = (_dotted(node) or "").partition(".")
            if (
                first in known
                and node.attr.startswith("_")
                and _is_private(f"{known[first]}.{rest}")
            ):
                yield node.lineno, f"{known[first]}.{rest}"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
            home, name = (_dotted(node.args[0]) or "").partition(".")[0], node.args[1]
            text = name.value if isinstance(name, ast.Constant) else ""
            if home in known and isinstance(text, str) and _is_private(text):
                yield node.lineno, f"{ast.unparse(node.args[0])}.{text}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if text.startswith("torch.") and " " not in text and _is_private(text):
                yield node.lineno, text
