"""Which tensors of a recorded run are integer arithmetic carried by floats (PLACE-14)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from quant_torch._torch_internals import pytree
from quant_torch.quantization._whole_numbers import (
    CONVERSIONS,
    FACTORIES,
    LIKE_ANOTHER,
    PASSING,
    ROUNDINGS,
)
from quant_torch.quantization.spec._fast.value_cache import version_of

_RANDOM = ("rand", "normal", "bernoulli", "uniform", "exponential", "multinomial", "poisson")
_VALUES = frozenset({"item", "tolist", "numpy", "__array__", "__float__", "__int__", "__bool__"})


class WholeNumbers:
    """Notes, while a model runs, which floats come from integers, shapes and constants alone.

    What nothing is known of, as the results of TorchScript, counts as data. All tensors that it is
    told of have to live on.
    """

    def __init__(self) -> None:
        self._versions: dict[int, int | None] = {}
        self._readers: dict[int, list[tuple[str, torch.Tensor | None]]] = {}

    def constants(self, tensors: Iterable[torch.Tensor]) -> None:
        """Note buffers, and tensors that are plain attributes."""
        for tensor in tensors:
            if not (nn.parameter.is_lazy(tensor) or tensor.requires_grad):
                self._note(tensor)

    def returned(self, tensors: Iterable[torch.Tensor]) -> None:
        """Note what the model gives to its caller."""
        for tensor in tensors:
            self._readers.setdefault(id(tensor), []).append(("", None))

    def called(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        outputs: list[torch.Tensor],
    ) -> None:
        """Note the results of a call and what it reads."""
        name = name_of(function)
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if _is_tensor(leaf)]
        if outputs or name in _VALUES or name == "__setitem__":
            for place, tensor in enumerate(given):
                if outputs and outputs[0] is tensor and name in CONVERSIONS | PASSING:
                    continue  # there was nothing to do
                reader = ("", None) if place or not outputs else (name, outputs[0])
                self._readers.setdefault(id(tensor), []).append(reader)
        whole = name in ROUNDINGS | FACTORIES or (
            all(self.had(t, outputs) for t in given[: 1 if name in LIKE_ANOTHER else None])
            and not _is_random(name, args, kwargs)
        )
        for tensor in outputs:
            if whole and tensor.is_floating_point():
                self._note(tensor)
            else:
                self._versions.pop(id(tensor), None)

    def had(self, tensor: torch.Tensor, outputs: Iterable[torch.Tensor] = ()) -> bool:
        """Whether a tensor was such a value before a call; integers and truths are.

        Args:
            tensor: What the call reads.
            outputs: Its results; one that it reads, too, it has written to.
        """
        if not tensor.is_floating_point():
            return not tensor.is_complex()
        if id(tensor) not in self._versions:
            return False
        known, version = self._versions[id(tensor)], version_of(tensor)
        if known is not None and version != known and any(out is tensor for out in outputs):
            known += 1
        return known == version

    def becomes(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor was only read by operations that make whole numbers of it."""
        readers = self._readers.get(id(tensor), [])
        return bool(readers) and all(self._reads_whole(name, out) for name, out in readers)

    def _reads_whole(self, name: str, result: torch.Tensor | None) -> bool:
        if result is None:
            return False
        if name in CONVERSIONS:
            return not result.is_floating_point() or self.becomes(result)
        return name in ROUNDINGS or (name in PASSING and self.becomes(result))

    def _note(self, tensor: torch.Tensor) -> None:
        self._versions[id(tensor)] = version_of(tensor)


def name_of(function: Callable[..., Any]) -> str:
    """Name of a torch function, without the mark of those that write in place."""
    name = str(getattr(function, "__name__", ""))
    return name if name.startswith("__") else name.rstrip("_")


def _is_random(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if "dropout" in name:
        return any(a is True for a in (*args, kwargs.get("training"), kwargs.get("train")))
    return name.startswith(_RANDOM)


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)
