"""The operations that eager mode can quantize.

A table of torch functions, and a registry to which users add their own::

    @EagerQuantizerSupportedOpsRegistry.register("div")
    class DivQuantizationSupport:
        ops = [torch.div, torch.Tensor.div]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from quant_torch._registry import KeyedClasses
from quant_torch.quantization._states import LAYERS

TorchFunction = Callable[..., Any]

_UNARY = ("input",)
_BINARY = ("input", "other")
_WEIGHTED = ("input", "weight", "bias")


@dataclass(frozen=True)
class SupportedOp:
    """A kind of operation.

    Attributes:
        key: What op_type_config calls it.
        functions: The torch functions that it covers, as ``__torch_function__`` sees them.
        arguments: Names of its positional tensor arguments.
        by_default: Whether it is quantized without being named in a config.
        result_is_free: Whether its result is new memory that its own gradient does not need.
        states_only: Whether nothing but its weights is quantized.
    """

    key: str
    functions: tuple[TorchFunction, ...]
    arguments: tuple[str, ...] = _UNARY
    by_default: bool = True
    result_is_free: bool = True
    states_only: bool = False


_BY_DEFAULT = (
    SupportedOp("conv1d", (torch.conv1d,), _WEIGHTED),
    SupportedOp("conv2d", (torch.conv2d,), _WEIGHTED),
    SupportedOp("conv3d", (torch.conv3d,), _WEIGHTED),
    SupportedOp("conv_transpose1d", (torch.conv_transpose1d,), _WEIGHTED),
    SupportedOp("conv_transpose2d", (torch.conv_transpose2d,), _WEIGHTED),
    SupportedOp("conv_transpose3d", (torch.conv_transpose3d,), _WEIGHTED),
    SupportedOp("linear", (functional.linear,), _WEIGHTED),
    SupportedOp("embedding", (functional.embedding,), ("input", "weight")),
    SupportedOp("max_pool2d", (functional.max_pool2d, torch.max_pool2d)),
    SupportedOp("adaptive_avg_pool2d", (functional.adaptive_avg_pool2d,)),
    SupportedOp("add", (torch.add, Tensor.add, Tensor.add_), _BINARY),
    SupportedOp(
        "sub",
        (torch.sub, torch.subtract, Tensor.sub, Tensor.sub_, Tensor.subtract, Tensor.subtract_),
        _BINARY,
    ),
    SupportedOp(
        "mul",
        (torch.mul, torch.multiply, Tensor.mul, Tensor.mul_, Tensor.multiply, Tensor.multiply_),
        _BINARY,
    ),
    SupportedOp("matmul", (torch.matmul, Tensor.matmul), _BINARY),
)


def _off(key: str, *functions: TorchFunction, arguments: tuple[str, ...] = _UNARY) -> SupportedOp:
    return SupportedOp(key, functions, arguments, by_default=False, result_is_free=False)


_WHEN_NAMED = (
    _off("bmm", torch.bmm, Tensor.bmm, arguments=("input", "mat2")),
    _off("mm", torch.mm, Tensor.mm, arguments=("input", "mat2")),
    _off("baddbmm", torch.baddbmm, Tensor.baddbmm, arguments=("input", "batch1", "batch2")),
    _off("addmm", torch.addmm, Tensor.addmm, arguments=("input", "mat1", "mat2")),
    _off("einsum", torch.einsum, arguments=("equation", "operands")),
    _off(
        "div", torch.div, torch.true_divide, Tensor.div, Tensor.div_, Tensor.true_divide,
        Tensor.true_divide_, arguments=_BINARY,
    ),
    _off("rsub", Tensor.__rsub__, torch.rsub, arguments=_BINARY),
    _off("cat", torch.cat, torch.concat, torch.concatenate, arguments=("tensors",)),
    _off("mean", torch.mean, Tensor.mean),
    _off(
        "max_pool1d", functional.max_pool1d, torch.max_pool1d,
        functional.max_pool1d_with_indices,
    ),
    _off(
        "max_pool3d", functional.max_pool3d, torch.max_pool3d,
        functional.max_pool3d_with_indices,
    ),
    _off("avg_pool1d", functional.avg_pool1d),
    _off("avg_pool2d", functional.avg_pool2d),
    _off("avg_pool3d", functional.avg_pool3d),
    _off("adaptive_avg_pool1d", functional.adaptive_avg_pool1d),
    _off("adaptive_avg_pool3d", functional.adaptive_avg_pool3d),
    _off(
        "adaptive_max_pool1d", functional.adaptive_max_pool1d,
        functional.adaptive_max_pool1d_with_indices,
    ),
    _off(
        "adaptive_max_pool2d", functional.adaptive_max_pool2d,
        functional.adaptive_max_pool2d_with_indices,
    ),
    _off(
        "adaptive_max_pool3d", functional.adaptive_max_pool3d,
        functional.adaptive_max_pool3d_with_indices,
    ),
    _off("relu", functional.relu, torch.relu, Tensor.relu, functional.relu_, Tensor.relu_),
    _off("relu6", functional.relu6),
    _off("leaky_relu", functional.leaky_relu, functional.leaky_relu_),
    _off("silu", functional.silu),
    _off("elu", functional.elu, functional.elu_),
    _off("celu", functional.celu, functional.celu_),
    _off("selu", functional.selu, functional.selu_),
    _off("mish", functional.mish),
    _off("hardtanh", functional.hardtanh, functional.hardtanh_),
    _off("hardswish", functional.hardswish),
    _off("hardsigmoid", functional.hardsigmoid),
    _off("gelu", functional.gelu),
    _off("sigmoid", functional.sigmoid, torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_),
    _off("logsigmoid", functional.logsigmoid),
    _off("tanh", functional.tanh, torch.tanh, Tensor.tanh, Tensor.tanh_),
    _off("softmax", functional.softmax, torch.softmax, Tensor.softmax),
    _off(
        "scaled_dot_product_attention", functional.scaled_dot_product_attention,
        arguments=("query", "key", "value", "attn_mask"),
    ),
)  # fmt: skip

_STEP = ("input", "hx", "w_ih", "w_hh", "b_ih", "b_hh")
_RECURRENT: tuple[SupportedOp, ...] = tuple(
    SupportedOp(
        function.__name__,
        (function,),
        _STEP if function.__name__.endswith("_cell") else ("input", "hx", "params"),
        by_default=False,
        result_is_free=False,
        states_only=True,
    )
    for function in (
        torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu,
        torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell,
    )
)  # fmt: skip

BUILT_IN: dict[str, SupportedOp] = {op.key: op for op in (*_BY_DEFAULT, *_WHEN_NAMED)}
"""Every operation this package knows, by key."""

_KNOWN = (*BUILT_IN.values(), *_RECURRENT)

COMPOSITES: frozenset[TorchFunction] = frozenset({functional.multi_head_attention_forward})
"""Functions that are looked into: what they call is quantized, not they themselves."""


class EagerQuantizerSupportedOpsRegistry(KeyedClasses):
    """Operations that users add; register a class whose ``ops`` lists torch functions.

    A registered operation is quantized by default. Registering the key of an operation that is
    known but off switches it on; the key of any other known operation is taken. A class may name
    its tensor arguments in ``arguments``.
    """

    REGISTRY: ClassVar[dict[str, type]] = {}

    @classmethod
    def register(cls, key: str) -> Callable[[Any], Any]:
        """Decorator that adds an operation under a key.

        Args:
            key: What op_type_config will call it.

        Raises:
            ValueError: The key is taken.
            TypeError: The class has no list of functions in ``ops``.
        """
        if key in BUILT_IN and BUILT_IN[key].by_default:
            raise ValueError(f"operation {key!r} is quantized by default already")
        add = super().register(key)

        def checked(registered: Any) -> Any:
            functions = getattr(registered, "ops", None)
            if not isinstance(functions, list | tuple) or not all(map(callable, functions)):
                raise TypeError(
                    f"{registered.__name__} must list its torch functions in ops, given {functions}"
                )
            return add(registered)

        return checked


def supported_functions() -> dict[TorchFunction, SupportedOp]:
    """Every known function with its operation; what users registered comes first."""
    table = {function: op for op in _KNOWN for function in op.functions}
    for key, registered in EagerQuantizerSupportedOpsRegistry.REGISTRY.items():
        known = BUILT_IN.get(key)
        arguments = getattr(registered, "arguments", known.arguments if known else ())
        functions = dict.fromkeys([*registered.ops, *(known.functions if known else ())])
        added = SupportedOp(key, tuple(functions), tuple(arguments), result_is_free=False)
        table.update(dict.fromkeys(functions, added))
    return table


def operation_of_module(module: torch.nn.Module) -> str | None:
    """Key of the operation that a standard module performs with its weight, or None."""
    kinds = {kind: key for key, kind in LAYERS.items()}
    for cls in type(module).__mro__:
        if cls.__module__.startswith("torch.nn.") and cls.__name__ in kinds:
            return kinds[cls.__name__]
    return None
