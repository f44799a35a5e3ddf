"""What happens at one call site: arguments and outputs of an operation are fake-quantized."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch

from quant_torch._torch_internals import take_for, untraced
from quant_torch.quantization._eager.supported_ops_registry import TorchFunction
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase

Path = tuple[str | int, ...]

COPIES_ARE_TRACED: ContextVar[bool] = ContextVar("COPIES_ARE_TRACED", default=False)


@contextlib.contextmanager
def copies_traced() -> Iterator[None]:
    """Let ``torch.jit.trace`` see how results get into tensors that are written in place."""
    token = COPIES_ARE_TRACED.set(True)
    try:
        yield
    finally:
        COPIES_ARE_TRACED.reset(token)


class Site:
    """One call site of a module: what happens to the operation's inputs and outputs.

    Attributes:
        name: Name of the operation inside its module, such as ``"add_1"``.
        positional: (position, module) of quantized positional arguments.
        nested: (path, module) of quantized arguments that are keywords or inside a sequence.
        outputs: Module of each quantized output by index.
        overwrites: Whether outputs may be overwritten by their quantized values.
    """

    __slots__ = ("name", "nested", "outputs", "overwrites", "positional")

    def __init__(self, name: str, overwrites: bool = False) -> None:
        self.name = name
        self.overwrites = overwrites
        self.positional: list[tuple[int, FakeQuantizeImplBase]] = []
        self.nested: list[tuple[Path, FakeQuantizeImplBase]] = []
        self.outputs: dict[int, FakeQuantizeImplBase] = {}

    def add_input(self, path: Path, module: FakeQuantizeImplBase) -> None:
        """Quantize the argument at a path such as ``("args", 0)`` or ``("kwargs", "other")``."""
        if len(path) == 2 and path[0] == "args":
            self.positional.append((int(path[1]), module))
        else:
            self.nested.append((path, module))

    def modules(self) -> list[FakeQuantizeImplBase]:
        """Every fake-quantize module of the site."""
        inputs = (module for _, module in (*self.positional, *self.nested))
        return [*inputs, *self.outputs.values()]

    def drop_disabled(self) -> None:
        """Forget the modules whose tensors turned out not to fit their blocks."""
        self.positional = [(at, module) for at, module in self.positional if not module.disabled]
        self.nested = [(at, module) for at, module in self.nested if not module.disabled]
        self.outputs = {i: module for i, module in self.outputs.items() if not module.disabled}

    def run(self, function: TorchFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the operation with its arguments and outputs fake-quantized."""
        if "out" in kwargs:  # the result belongs to the caller, who asked for its exact content
            return function(*args, **kwargs)
        target = args[0] if args and _writes_in_place(function, kwargs) else None
        if self.positional:
            changed = list(args)
            for position, module in self.positional:
                if position < len(changed) and _is_float(changed[position]):
                    changed[position] = module(changed[position])
            args = tuple(changed)
        if self.nested:
            args, kwargs = _with_nested(self.nested, args, kwargs)
        result = function(*args, **kwargs)
        if self.outputs:
            result = self._quantize_outputs(result, self.overwrites and target is None)
        if target is None or result is target:
            return result
        # The operation wrote to a quantized copy; who holds the original must see the result.
        if torch.jit.is_tracing() and not COPIES_ARE_TRACED.get():
            _copy_unseen(target, result)
        else:
            target.copy_(result)
        return target

    def _quantize_outputs(self, result: Any, overwrite: bool) -> Any:
        if isinstance(result, torch.Tensor):
            module = self.outputs.get(0)
            quantized = module is not None and result.is_floating_point()
            return module(result, overwrite) if quantized else result
        if not isinstance(result, tuple | list):
            return result
        changed = [
            self.outputs[i](value)
            if i in self.outputs and isinstance(value, torch.Tensor)
            else value
            for i, value in enumerate(result)
        ]
        if isinstance(result, tuple) and hasattr(result, "_fields"):
            return type(result)(*changed)
        return type(result)(changed)


def _writes_in_place(function: TorchFunction, kwargs: dict[str, Any]) -> bool:
    name: str = getattr(function, "__name__", "")
    return (name.endswith("_") and not name.endswith("__")) or kwargs.get("inplace") is True


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _with_nested(
    nested: list[tuple[Path, FakeQuantizeImplBase]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    tree: dict[str | int, Any] = {"args": args, "kwargs": kwargs}
    for path, module in nested:
        tree = _replaced(tree, path, module)
    return tree["args"], tree["kwargs"]


def _replaced(tree: Any, path: Path, module: FakeQuantizeImplBase) -> Any:
    """The tree with the tensor at a path fake-quantized; unchanged where the path ends early."""
    if not path:
        return module(tree) if _is_float(tree) else tree
    step = path[0]
    if isinstance(tree, dict) and step in tree:
        return {**tree, step: _replaced(tree[step], path[1:], module)}
    if isinstance(tree, tuple | list) and isinstance(step, int) and step < len(tree):
        changed = list(tree)
        changed[step] = _replaced(tree[step], path[1:], module)
        return changed if isinstance(tree, list) else tuple(changed)
    return tree


def _copy_unseen(target: torch.Tensor, result: torch.Tensor) -> None:
    """Copy while torch.jit.trace looks on, and let it take the one tensor for the other.

    A copy of a whole tensor would be in the trace, and coremltools converts none; our exporter
    takes it out. Torch has no public way to look away.
    """
    with untraced():
        target.copy_(result)
    take_for(target, result)
