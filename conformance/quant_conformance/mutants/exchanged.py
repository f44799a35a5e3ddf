"""The reference with some of its steps exchanged.

The reference is functions that call one another by name. A backend that has a known bug is made of
the same functions, bound to names of their own, of which some mean something else: nothing in
``quant_reference`` is changed, and each backend can be asked beside any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

import numpy as np

from quant_conformance.mutants.integers import Integers
from quant_conformance.plain_layers import Layers

Step = Callable[..., Any]

# By their names in full: a function of the package hides the module of its name.
MODULES: tuple[ModuleType, ...] = tuple(
    import_module(name)
    for name in (
        "quant_reference._arrays",
        "quant_reference._fast",
        "quant_reference.formats",
        "quant_reference.granularity",
        "quant_reference.blocks",
        "quant_reference.encoding",
        "quant_reference.packing",
        "quant_reference.ranges",
        "quant_reference.qparams",
        "quant_reference.legality",
        "quant_reference.quantize",
        "quant_reference.gradient",
        "quant_reference.observers",
        "quant_reference.batch_norm",
        "quant_reference.lifecycle",
        "quant_reference.block.forms",
        "quant_reference.block.scales",
        "quant_reference.block.elements",
        "quant_reference.block.layout",
        "quant_reference.block.dot",
        "quant_conformance.backends.numpy_reference",
        "quant_conformance.mutants.declarations",
    )
)
"""The modules whose functions are steps. Their names are unique, so that one name is one step."""


def _is_step(value: object, module: ModuleType) -> bool:
    # A step that is one operation of numpy is bound to its ufunc: ``divide = np.divide``.
    if isinstance(value, FunctionType):
        return value.__globals__ is vars(module)
    return isinstance(value, np.ufunc)


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        name: value
        for module in MODULES
        for name, value in vars(module).items()
        if _is_step(value, module)
    }
)
"""Name -> step."""


class Mutated(Integers, Layers):
    """A backend of the reference's functions, of layers in plain numpy and of integer layers.

    Every step is an attribute. A step in ``exchanged`` is called with the backend first, and takes
    the place of the right one wherever that is called.

    Attributes:
        name: Name of the backend.
        exchanged: Name of a step -> what is in its place.
        right: The right steps, by their names; what they call is what this backend has.
    """

    name = "mutated"
    exchanged: Mapping[str, Step] = MappingProxyType({})

    def __init__(self) -> None:
        wrong = {name: partial(step, self) for name, step in self.exchanged.items()}
        right: dict[str, Step] = {}
        spaces = {module.__name__: dict(vars(module)) for module in MODULES}
        for name, step in STEPS.items():
            right[name] = _bound(step, spaces) if isinstance(step, FunctionType) else step
        used = right | {"enabled": _never} | wrong
        for space in spaces.values():
            space.update({n: used[n] for n, value in space.items() if STEPS.get(n) is value})
        self.right = _Right(self, right)
        # Of the instance, because the class has a stub for each method of the protocol.
        vars(self).update({name: used[name] for name in used.keys() - vars(Mutated).keys()})

    def gradient(self, *arguments: Any) -> Any:
        """GRAD-1 to GRAD-4."""
        return self.fake_quantize_gradient(*arguments)

    def fold_batch_norm(self, *arguments: Any) -> Any:
        """BN-1 and BN-2."""
        return self.fold_norm(*arguments)

    def lifecycle(self, *arguments: Any) -> Any:
        """LIFE-1 to LIFE-7."""
        return self.run_lifecycle(*arguments)

    def scale_layout(self, *arguments: Any) -> Any:
        """BLK-7."""
        return self.swizzle(*arguments)

    def __getattr__(self, name: str) -> Step:
        raise AttributeError(f"no step {name!r}")


def _bound(step: FunctionType, spaces: Mapping[str, dict[str, Any]]) -> FunctionType:
    """The same code, which looks up names in another space."""
    copy = FunctionType(
        step.__code__, spaces[step.__module__], step.__name__, step.__defaults__, step.__closure__
    )
    copy.__kwdefaults__ = step.__kwdefaults__
    return copy


def _never() -> bool:
    """Answers whether the tricks are on that only make the reference fast."""
    return False


class _Right:
    """The right steps of a backend."""

    def __init__(self, backend: Mutated, steps: Mapping[str, Step]) -> None:
        self._backend, self._steps = backend, steps

    def __getattr__(self, name: str) -> Step:
        if name in self._steps:
            return self._steps[name]
        step: Step = getattr(Mutated, name).__get__(self._backend)
        return step


def is_step(name: str) -> bool:
    """Tells whether there is a step of this name: of the reference, or of plain layers."""
    return name in STEPS or callable(getattr(Mutated, name, None))


def patched(name: str = "mutated", **steps: Step) -> Mutated:
    """A backend with some of its steps exchanged.

    Args:
        name: Name of the backend.
        **steps: What is in the place of each; called with the backend first.

    Raises:
        AttributeError: There is no such step.
    """
    for step in steps:
        if not is_step(step):
            raise AttributeError(f"no step {step!r}")
    exchanged = {key: step for key, step in steps.items() if key in STEPS}
    of_layers = {key: step for key, step in steps.items() if key not in STEPS}
    made: Mutated = type(
        "Mutated", (Mutated,), {"name": name, "exchanged": exchanged, **of_layers}
    )()
    return made
