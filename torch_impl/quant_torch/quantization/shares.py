"""Which share of a prepared model's parameters and multiply-adds is quantized, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quant_torch._torch_internals import TorchDispatchMode, pytree
from quant_torch.quantization._evaluation import undisturbed
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization._factors import MOVES, multiplied
from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization._graph.batch_norm import FoldedWeight


@dataclass(frozen=True)
class LeftInFloat:
    """A parameter of a matrix product, a convolution or an embedding that is not quantized.

    Attributes:
        name: Its name in the model.
        operation: What reads it.
        parameters: How many numbers it has.
        multiply_adds: How many multiply-adds read it, in one run.
        reason: Why it stays in float, or empty where that is not known.
    """

    name: str
    operation: str
    parameters: int
    multiply_adds: int
    reason: str = ""


@dataclass(frozen=True)
class QuantizedShares:
    """Counts over the matrix products, convolutions and embeddings of one run.

    Attributes:
        parameters: Numbers in their weights; a weight that several read counts once.
        quantized_parameters: Those that all readers get quantized.
        multiply_adds: Of products of two activations, too.
        quantized_multiply_adds: Those of which both factors are quantized.
        left: The weights in float, the largest first.
    """

    parameters: int
    quantized_parameters: int
    multiply_adds: int
    quantized_multiply_adds: int
    left: tuple[LeftInFloat, ...]

    @property
    def of_parameters(self) -> float:
        """Share of the parameters, 1 where there are none."""
        return self.quantized_parameters / self.parameters if self.parameters else 1.0

    @property
    def of_multiply_adds(self) -> float:
        """Share of the multiply-adds, 1 where there are none."""
        return self.quantized_multiply_adds / self.multiply_adds if self.multiply_adds else 1.0

    def __str__(self) -> str:
        lines = [
            f"quantized: {self.of_parameters:.1%} of {self.parameters:,} parameters and "
            f"{self.of_multiply_adds:.1%} of {self.multiply_adds:,} multiply-adds"
        ]
        for one in self.left:
            why = f": {one.reason}" if one.reason else ""
            lines.append(f"  {one.name} ({one.parameters:,}, read by {one.operation}){why}")
        return "\n".join(lines)


def quantized_shares(
    prepared: nn.Module,
    example_inputs: tuple[Any, ...],
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    quantizers: Iterable[nn.Module] | None = None,
    reason_of: Callable[[str], str] | None = None,
) -> QuantizedShares:
    """Run a prepared model once and count.

    Args:
        prepared: What ``Quantizer.prepare`` gave; it is left as it was.
        example_inputs: Positional arguments of one forward pass.
        example_kwargs: Its keyword arguments, by name.
        quantizers: The fake-quantize modules of a model that another package prepared.
        reason_of: Says why a parameter stays in float, by its name.
    """
    inputs = ExampleInputs.checked(prepared, example_inputs, example_kwargs)
    counter = _Counter(prepared)
    modules = fake_quantizers(prepared) if quantizers is None else quantizers
    handles = [module.register_forward_hook(counter.quantized) for module in modules]
    folded = [module for module in prepared.modules() if isinstance(module, FoldedWeight)]
    handles += [module.register_forward_hook(counter.folded) for module in folded]
    try:
        # oneDNN runs a recurrent layer as one; without it, its products are to be seen.
        with (
            undisturbed(prepared),
            torch.no_grad(),
            torch.backends.mkldnn.flags(enabled=False),
            counter,
        ):
            inputs.copied().run(prepared)
    finally:
        for handle in handles:
            handle.remove()
    return counter.result(reason_of)


@dataclass
class _Source:
    """Where a tensor comes from.

    Attributes:
        names: Parameters that it was computed from; of one with matrices among them, these.
        quantized: Whether a quantizer gave it.
        state: Whether no data went into it.
    """

    names: frozenset[str] = frozenset()
    quantized: bool = False
    state: bool = False


@dataclass
class _Read:
    """How a parameter is read."""

    operation: str
    multiply_adds: int = 0
    quantized: bool = True


class _Counter(TorchDispatchMode):  # type: ignore[misc]
    """Follows tensors from operation to operation, and counts what is multiplied.

    Args:
        model: The prepared model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._sizes: dict[str, int] = {}
        self._sources: dict[int, _Source] = {}
        self._kept: list[Tensor] = []  # a tensor that lives cannot lend its id to another
        self._reads: dict[str, _Read] = {}
        self._total = self._quantized = 0
        self._matrices: set[str] = set()
        for name, parameter in model.named_parameters():
            plain = _plain(name)
            self._sizes[plain] = parameter.numel()
            if parameter.dim() > 1:
                self._matrices.add(plain)
            self._note(parameter, _Source(frozenset({plain}), state=True))
        for buffer in model.buffers():
            self._note(buffer, _Source(state=True))

    def quantized(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A fake-quantize module gave a tensor."""
        if isinstance(output, Tensor) and not getattr(module, "disabled", False):
            given = self._source(args[0]) if args else _Source()
            self._note(output, _Source(given.names, True, given.state))

    def folded(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A batch norm was folded into a weight, now or before."""
        self._note(output, _Source(self._source(args[0]).names, state=True))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and take note of it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        found = multiplied(func, args, result)
        if found is not None and not self._computes_a_weight(*found):
            self._count(func, *found)
        given = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        sources = [self._source(tensor) for tensor in given]
        made = self._made(func, sources)
        for tensor in pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor, made)
        return result

    def _computes_a_weight(self, factors: list[Tensor], multiply_adds: int) -> bool:
        """Whether states alone are multiplied, which is done once; tables are looked up in."""
        return multiply_adds > 0 and all(self._source(factor).state for factor in factors)

    def _made(self, func: Any, sources: list[_Source]) -> _Source:
        """What an operation makes of what it is given."""
        moves = func._schema.name.partition("::")[2] in MOVES
        quantized = moves and bool(sources) and all(s.quantized for s in sources)
        if not sources or not all(source.state for source in sources):
            return _Source(quantized=quantized)
        names = frozenset[str]().union(*(source.names for source in sources))
        return _Source(names & self._matrices or names, quantized, True)

    def result(self, reason_of: Callable[[str], str] | None) -> QuantizedShares:
        """What was counted."""
        left = [
            LeftInFloat(
                name, read.operation, self._sizes[name], read.multiply_adds,
                "" if reason_of is None else reason_of(name),
            )
            for name, read in self._reads.items()
            if not read.quantized
        ]  # fmt: skip
        left.sort(key=lambda one: -one.parameters)
        parameters = sum(self._sizes[name] for name in self._reads)
        floats = sum(one.parameters for one in left)
        return QuantizedShares(
            parameters, parameters - floats, self._total, self._quantized, tuple(left)
        )

    def _count(self, func: Any, factors: list[Tensor], multiply_adds: int) -> None:
        sources = [self._source(factor) for factor in factors]
        self._total += multiply_adds
        if all(source.quantized for source in sources):
            self._quantized += multiply_adds
        for source in sources:
            for name in source.names:
                operation = func._schema.name.partition("::")[2].lstrip("_")
                read = self._reads.setdefault(name, _Read(operation))
                read.multiply_adds += multiply_adds
                read.quantized &= source.quantized

    def _source(self, tensor: Any) -> _Source:
        return self._sources.get(id(tensor), _Source())

    def _note(self, tensor: Tensor, source: _Source) -> None:
        self._sources[id(tensor)] = source
        self._kept.append(tensor)


def _plain(name: str) -> str:
    """Name of a parameter without its parametrization's."""
    owner, found, rest = name.partition("parametrizations.")
    return owner + rest.rpartition(".")[0] if found else name
