"""What is known about the values of a trace without running it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quant_torch._torch_internals import OpOverload

UNKNOWN = object()
"""The value depends on the data."""

_SHAPES = frozenset({
    "size", "new_ones", "new_zeros", "new_full", "new_empty", "ones_like", "zeros_like",
    "full_like", "empty_like", "dim", "numel",
})  # fmt: skip
"""Operations that read the shape and the dtype of a tensor, and not its elements."""


def overload_of(node: Any) -> OpOverload | None:
    """The ATen operation of a node in a trace, or None."""
    namespace, _, name = node.kind().partition("::")
    if namespace not in ("aten", "prim", "quantized"):
        return None
    text = str(node.schema())
    if "(" not in text or "no schema" in text:
        return None
    full = text.partition("(")[0].partition("::")[2]
    name, _, overload = full.partition(".")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    found = getattr(packet, overload or "default", None)
    return found if isinstance(found, OpOverload) else None


def shape_only(overload: OpOverload) -> bool:
    """Whether an operation does not read the elements of what it is given."""
    return overload._schema.name.partition("::")[2] in _SHAPES


class Values:
    """Constants of a trace by the numbers of their values.

    Args:
        traced: The trace.
    """

    def __init__(self, traced: torch.jit.ScriptModule) -> None:
        self._traced = traced
        self._known: dict[int, Any] = {}
        self._folded: set[int] = set()

    def of(self, value: Any) -> Any:
        """A constant, a state of the model, a list of them, or ``UNKNOWN``."""
        name = value.unique()
        if name not in self._known:
            self._known[name] = self._made(value)
        return self._known[name]

    def follow(self, node: Any) -> None:
        """Take note of a node that computes nothing, such as one that takes a list apart."""
        if node.kind() in ("prim::ListUnpack", "prim::TupleUnpack"):
            whole = self.of(node.input())
            if isinstance(whole, list | tuple):
                for output, item in zip(node.outputs(), whole, strict=True):
                    self._known[output.unique()] = item

    def put(self, value: Any, known: Any) -> None:
        """Take note of what a node gives."""
        self._known[value.unique()] = known
        self._folded.add(value.unique())

    def folded(self, value: Any) -> Any:
        """What was put, or ``UNKNOWN``."""
        name = value.unique()
        return self._known[name] if name in self._folded else UNKNOWN

    def stand_in(self, value: Any) -> Any:
        """The value if it is known, else a tensor without data of its shape and dtype."""
        known = self.of(value)
        return _empty(value) if known is UNKNOWN else known

    def example(self, value: Any) -> Any:
        """A number as it is; of a tensor, one like it."""
        known = self.of(value)
        if isinstance(known, Tensor) and not known.is_quantized:
            return torch.zeros(known.shape, dtype=known.dtype)
        empty = _empty(value) if known is UNKNOWN else known
        return torch.zeros(empty.shape, dtype=empty.dtype) if isinstance(empty, Tensor) else empty

    def reads_compressed(self, node: Any) -> bool:
        """Whether a node reads a weight that coremltools compresses, and finds by its name."""
        return any(self._is_compressed(value) for value in node.inputs())

    def _is_compressed(self, value: Any) -> bool:
        node = value.node()
        if node.kind() == "prim::ListConstruct":
            return any(self._is_compressed(item) for item in node.inputs())
        if node.kind() != "prim::GetAttr":
            return False
        owner = self.of(node.input())
        return hasattr(owner, f"_COREML_/{node.s('name')}/compression_type")

    def _made(self, value: Any) -> Any:
        node = value.node()
        kind = node.kind()
        if kind == "prim::Constant":
            return value.toIValue()
        if kind == "prim::GetAttr":
            owner = self.of(node.input())
            return UNKNOWN if owner is UNKNOWN else _attribute(owner, node.s("name"))
        if kind in ("prim::ListConstruct", "prim::TupleConstruct"):
            items = [self.of(item) for item in node.inputs()]
            return UNKNOWN if any(item is UNKNOWN for item in items) else items
        if kind == "prim::Param" and str(value.type()).startswith("__torch__"):
            return self._traced
        return UNKNOWN


def _attribute(owner: Any, name: str) -> Any:
    found = getattr(owner, name, UNKNOWN)
    return found.detach() if isinstance(found, Tensor) else found


def _empty(value: Any) -> Any:
    """A tensor without data, where a trace knows the shape and the dtype of a value."""
    kind = value.type()
    if kind.kind() != "TensorType" or kind.sizes() is None or kind.dtype() is None:
        return UNKNOWN
    if kind.dtype() in (torch.qint8, torch.quint8, torch.qint32):
        return UNKNOWN  # torch makes none of these without their qparams
    return torch.empty(kind.sizes(), dtype=kind.dtype())
