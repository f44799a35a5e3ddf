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
        model.__dict__[_MODEL] = self._mark
        if isinstance(model, fx.GraphModule):
            # A copy keeps its meta, and of its attributes only those its graph names; what is
            # pickled and loaded keeps its attributes, and no meta.
            model.meta[_MODEL] = self._mark

    def model_in(self, given: nn.Module) -> nn.Module | None:
        """The prepared model that a module is, or wraps as DistributedDataParallel does."""
        return next((m for m in given.modules() if _mark_of(m) == self._mark), None)

    def has(self, module: nn.Module) -> bool:
        """Whether a module is part of the prepared model or of a copy, or wraps one of them."""
        return any(inner.__dict__.get(_MODULE) == self._mark for inner in module.modules())


def explain(given: nn.Module) -> str:
    """What a module is that a quantizer does not know."""
    kind = type(given).__name__
    if any(_mark_of(module) is not None for module in given.modules()):
        return f"a {kind} that another Quantizer prepared"
    if any(_MODULE in module.__dict__ for module in given.modules()):
        return f"a {kind}, a part of a prepared model"
    return f"a {kind} that was not prepared"


def _mark_of(module: nn.Module) -> object:
    """The mark of a model that was prepared as a whole, or None."""
    noted = module.__dict__.get(_MODEL)
    if noted is None and isinstance(module, fx.GraphModule):
        noted = module.meta.get(_MODEL)
    return noted
