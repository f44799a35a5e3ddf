"""Where an operation of a converted model comes from: module, operation, line of source."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
_TRACED = re.compile(r"^(?P<file>.+)\((?P<line>\d+)\): ", re.MULTILINE)
_OWN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_TORCH = os.path.join(os.path.dirname(os.path.abspath(torch.__file__)), "")


@dataclass(frozen=True)
class Origin:
    """What a person needs to find an operation.

    Attributes:
        module: Path of the innermost module that calls it; empty for the model itself.
        operation: Its ATen name.
        source: ``file.py:line``, or empty where that is not known.
    """

    module: str
    operation: str
    source: str

    def __str__(self) -> str:
        """In one line."""
        at = f" at {self.source}" if self.source else ""
        return f"{self.module or 'the model itself'}: {self.operation}{at}"


class Origins:
    """Finds origins for the operations of one finalized model.

    Args:
        model: The finalized model; the nodes of captured graphs remember where they come from.
    """

    def __init__(self, model: nn.Module) -> None:
        self._captured: dict[str, fx.GraphModule] = {}
        for module in model.modules():
            if isinstance(module, fx.GraphModule):
                self._captured[type(module).forward.__code__.co_filename] = module

    def of_trace(self, node: Any) -> Origin:
        """The origin of a node of a trace."""
        scope = node.scopeName().rpartition("/")[2]
        path = re.sub(r"^__module\.?(model\b\.?)?", "", scope)
        frames = [(m["file"], int(m["line"])) for m in _TRACED.finditer(node.sourceRange())]
        return self._found(path, node.kind().replace("::", "."), frames)

    def of_node(self, node: fx.Node) -> Origin:
        """The origin of a node of an exported program."""
        frames = list(_frames(node.meta.get("stack_trace")))
        return self._found(_module_of(node), str(node.target), frames)

    def _found(self, path: str, operation: str, frames: list[tuple[str, int]]) -> Origin:
        """From frames, the innermost first."""
        for file, line in frames:
            captured = self._captured.get(file)
            if captured is not None:
                return self._captured_at(captured, line, path, operation)
            if not file.startswith((_TORCH, _OWN, "<")):
                return Origin(path, operation, f"{file}:{line}")
        return Origin(path, operation, "")

    @staticmethod
    def _captured_at(model: fx.GraphModule, line: int, path: str, operation: str) -> Origin:
        nodes = {node.name: node for node in model.graph.nodes}
        lines = model.code.splitlines()
        # A few lines come before the code where it imports something.
        for shift in (0, *range(1, 12)):
            text = lines[line - 1 - shift] if 0 <= line - 1 - shift < len(lines) else ""
            node = nodes.get(re.split(r"[ :=]", text.strip(), maxsplit=1)[0])
            if node is not None and node.op in ("call_function", "call_module"):
                files = [f for f in _frames(node.meta.get("stack_trace")) if f[0][:1] != "<"]
                source = "{}:{}".format(*files[0]) if files else ""
                return Origin(_module_of(node) or path, operation, source)
        return Origin(path, operation, "")


def _frames(text: str | None) -> Iterator[tuple[str, int]]:
    """The frames of a stack trace, the innermost first, torch's own left out."""
    found = [(m["file"], int(m["line"])) for m in _FRAME.finditer(text or "")]
    for file, line in reversed(found):
        if not file.startswith((_TORCH, _OWN)):
            yield file, line


def _module_of(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    path = paths[-1] if paths else ""
    # As a capture writes them: L['self'].layers[0].act, or layers.0.act.
    return re.sub(r"^L\['self'\]\.?", "", path).replace("[", ".").replace("]", "").replace("'", "")
