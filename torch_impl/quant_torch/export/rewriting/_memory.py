"""Which tensors of a trace share memory, found by running it on tensors without data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from quant_torch._torch_internals import OpOverload
from quant_torch.export.rewriting._calls import call
from quant_torch.export.rewriting.inlining import Place
from quant_torch.export.rewriting.trace_values import UNKNOWN, Values, overload_of

_META = torch.device("meta")


class Memory:
    """The shapes, strides and storages of a trace's tensors.

    Args:
        traced: The trace.
    """

    def __init__(self, traced: torch.jit.ScriptModule) -> None:
        self._constants = Values(traced)
        self._found: dict[int, Any] = {}
        self._states: dict[int, Tensor] = {}

    def run(self, node: Any) -> None:
        """Take note of what a node gives."""
        if node.kind() in ("prim::ListUnpack", "prim::TupleUnpack"):
            whole = self.of(node.input())
            if isinstance(whole, list | tuple) and len(whole) == node.outputsSize():
                for output, item in zip(node.outputs(), whole, strict=True):
                    self._found[output.unique()] = item
            return
        overload = overload_of(node)
        args = None if overload is None else self.arguments(node)
        if overload is None or args is None:
            return
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = call(overload, args)
        except Exception:  # what cannot be run without data, or with what is not known
            return
        if node.outputsSize() == 1:
            self._found[node.output().unique()] = result
        elif isinstance(result, list | tuple) and len(result) == node.outputsSize():
            for output, item in zip(node.outputs(), result, strict=True):
                self._found[output.unique()] = item

    def arguments(self, node: Any) -> list[Any] | None:
        """The arguments of a node, None where some are not known."""
        args = [self.of(value) for value in node.inputs()]
        return None if any(_lacks(arg) for arg in args) else args

    def of(self, value: Any) -> Any:
        """A number, or a tensor without data, or a list of them, or ``UNKNOWN``."""
        name = value.unique()
        if name not in self._found:
            self._found[name] = self._made(value)
        return self._found[name]

    def tensor(self, value: Any) -> Tensor | None:
        """The tensor that a value is, or None."""
        found = self.of(value)
        return found if isinstance(found, Tensor) else None

    def storages(self, value: Any) -> Iterator[int]:
        """The storages of a tensor, or of the tensors in a list."""
        found = self.of(value)
        for item in found if isinstance(found, list | tuple) else [found]:
            if isinstance(item, Tensor):
                yield self.storage(item)

    @staticmethod
    def storage(tensor: Tensor) -> int:
        """What tensors that share memory have in common."""
        return tensor.untyped_storage()._cdata

    @staticmethod
    def same_place(a: Tensor, b: Tensor | None) -> bool:
        """Whether two tensors of a storage are one."""
        return b is not None and (a.shape, a.stride(), a.storage_offset()) == (
            b.shape, b.stride(), b.storage_offset())  # fmt: skip

    def copy(self, old: Any, new: Any) -> None:
        """Take note that a value is where another is."""
        self._found[new.unique()] = self.of(old)

    def put(self, value: Any, tensor: Tensor) -> None:
        """Take note of where a value is."""
        self._found[value.unique()] = tensor

    @staticmethod
    def target(node: Any, overload: OpOverload) -> Any:
        """The value that an operation writes into, None where there are several."""
        pairs = zip(overload._schema.arguments, node.inputs(), strict=False)
        into = [v for a, v in pairs if a.alias_info is not None and a.alias_info.is_write]
        return into[0] if len(into) == 1 else None

    def places(self, node: Any) -> tuple[list[Any], list[Any]]:
        """The values of a node that are tensors, and its arguments with places for them."""
        values: list[Any] = []

        def placed(value: Any) -> Any:
            found = self.of(value)
            if isinstance(found, Tensor):
                values.append(value)
                return Place(len(values) - 1)
            if isinstance(found, list) and value.node().kind() == "prim::ListConstruct":
                return [placed(item) for item in value.node().inputs()]
            return found

        return values, [placed(value) for value in node.inputs()]

    def _made(self, value: Any) -> Any:
        node = value.node()
        if node.kind() in ("prim::ListConstruct", "prim::TupleConstruct"):
            return [self.of(item) for item in node.inputs()]
        known = self._constants.of(value)
        if isinstance(known, Tensor):
            return self._state(known)
        if isinstance(known, torch.device):
            return _META
        if known is not UNKNOWN:
            return known
        kind = value.type()
        if kind.kind() != "TensorType" or kind.sizes() is None or kind.dtype() is None:
            return UNKNOWN
        sizes, strides = kind.sizes(), kind.strides()
        if strides is None:
            return torch.empty(sizes, dtype=kind.dtype(), device=_META)
        return torch.empty_strided(sizes, strides, dtype=kind.dtype(), device=_META)

    def _state(self, known: Tensor) -> Any:
        """A tensor of the model, without its data; those of one storage share one here, too."""
        if known.is_quantized or known.layout != torch.strided:
            return UNKNOWN
        if known.dim() == 0 and not known.is_floating_point():
            return known  # a size, or a place, that is computed with
        storage = known.untyped_storage()
        base = self._states.get(storage.data_ptr())
        if base is None or base.dtype != known.dtype:
            count = storage.nbytes() // known.element_size()
            base = torch.empty(count, dtype=known.dtype, device=_META)
            self._states[storage.data_ptr()] = base
        return torch.as_strided(base, known.shape, known.stride(), known.storage_offset())


def _lacks(arg: Any) -> bool:
    return arg is UNKNOWN or (isinstance(arg, list) and any(map(_lacks, arg)))
