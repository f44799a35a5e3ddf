"""Which quantizer prepared a model: a mark that copies of the model keep."""

from __future__ import annotations

from uuid import uuid4

from torch import fx, nn

_MODULE = "_quant_prepared_by"
_MODEL = "quant_prepared_as_a_whole_by"


class Ownership:
    """Recognises one quantizer's prepared model, its copies, and the modules of both."""

    def __init__(self) -> None:
        self._mark = uuid4().hex

    def take(self, model: nn.Module) -> None:
        """Mark a model and its modules; a deep copy, or a pickled one, has the marks, too."""
        for module in model.modules():
            module.__dict__[_MODULE] = self._mark
        _notes(model)[_MODEL] = self._mark

    def model_in(self, given: nn.Module) -> nn.Module | None:
        """The prepared model that a module is, or wraps as DistributedDataParallel does."""
        marked = (module for module in given.modules() if _notes(module).get(_MODEL) == self._mark)
        return next(marked, None)

    def has(self, module: nn.Module) -> bool:
        """Whether a module is part of the prepared model or of a copy, or wraps one of them."""
        return any(inner.__dict__.get(_MODULE) == self._mark for inner in module.modules())


def explain(given: nn.Module) -> str:
    """What a module is that a quantizer does not know."""
    kind = type(given).__name__
    if any(_MODEL in _notes(module) for module in given.modules()):
        return f"a {kind} that another Quantizer prepared"
    if any(_MODULE in module.__dict__ for module in given.modules()):
        return f"{kind}, a part of a prepared model"
    return f"a {kind} that was not prepared"


def _notes(module: nn.Module) -> dict[str, object]:
    # A copy of a graph module keeps its meta, and of its attributes only those its graph names.
    notes: dict[str, object] = (
        module.meta if isinstance(module, fx.GraphModule) else module.__dict__
    )
    return notes
