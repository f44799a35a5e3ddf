"""For operations that write: functions of the same arguments that give the written tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from quant_torch._torch_internals import OpOverload
from quant_torch.export.rewriting._calls import call

Written = Callable[[tuple[int, ...], torch.dtype, list[Any]], Tensor]
"""Takes the shape and the dtype of what is written, and the arguments in the schema's order."""

RESHAPED = frozenset({
    "squeeze_", "unsqueeze_", "transpose_", "t_", "swapaxes_", "swapdims_",
    "as_strided_", "resize_", "resize_as_", "set_", "detach_", "requires_grad_",
})  # fmt: skip
"""Operations that change no element, but the tensor that has them."""


def written(overload: OpOverload) -> Written | None:
    """What a tensor holds after an operation that writes, or None where that is not known."""
    schema = overload._schema
    name = schema.name.partition("::")[2]
    if torch.Tag.nondeterministic_seeded in overload.tags or name in RESHAPED:
        return None
    if name in _SPECIAL:
        return _SPECIAL[name]
    plain = _plain(overload, name)
    if plain is None:
        return None
    outs = {i for i, a in enumerate(schema.arguments) if a.is_out}

    def apply(shape: tuple[int, ...], dtype: torch.dtype, args: list[Any]) -> Tensor:
        given = [arg for index, arg in enumerate(args) if index not in outs]
        return _fitted(call(plain, given), shape, dtype)

    return apply


def _plain(overload: OpOverload, name: str) -> OpOverload | None:
    """The operation of the same arguments that writes nowhere."""
    wanted = [(a.name, str(a.type)) for a in overload._schema.arguments if not a.is_out]
    if name.startswith("__i"):
        name = f"__{name[3:]}"
    elif name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    packet = getattr(torch.ops.aten, name, None)
    for each in packet.overloads() if packet is not None else ():
        found = getattr(packet, each)
        given = [(a.name, str(a.type)) for a in found._schema.arguments]
        if not found._schema.is_mutable and given == wanted and len(found._schema.returns) == 1:
            return found
    return None


def _fitted(new: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    new = new if new.dtype == dtype else new.to(dtype)
    return new if tuple(new.shape) == shape else new.expand(shape)


def _copy(shape: tuple[int, ...], dtype: torch.dtype, args: Sequence[Any]) -> Tensor:
    return _fitted(args[1], shape, dtype)


def _fill(shape: tuple[int, ...], dtype: torch.dtype, args: Sequence[Any]) -> Tensor:
    if isinstance(args[1], Tensor):
        return _fitted(args[1], shape, dtype)
    return torch.full(shape, args[1], dtype=dtype)


def _zero(shape: tuple[int, ...], dtype: torch.dtype, args: Sequence[Any]) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


def _index_put(shape: tuple[int, ...], dtype: torch.dtype, args: Sequence[Any]) -> Tensor:
    x, indices, values, adds = args[0], args[1], args[2], len(args) > 3 and args[3]
    if len(indices) == 1 and indices[0] is not None and indices[0].dtype == torch.bool:
        (mask,) = indices
        if not adds and values.numel() == 1 and mask.dim() <= x.dim():
            mask = mask.reshape([*mask.shape, *([1] * (x.dim() - mask.dim()))])
            return torch.where(mask, values.reshape(()).to(dtype), x)
    return _fitted(torch.ops.aten.index_put(x, indices, values, bool(adds)), shape, dtype)


_SPECIAL: dict[str, Written] = {
    "copy_": _copy, "fill_": _fill, "zero_": _zero, "index_put_": _index_put,
}  # fmt: skip
