"""Module calls at run time: which module is running, and which of its call sites is passed."""

from __future__ import annotations

import copy
import inspect
import threading
import warnings
from types import CodeType
from typing import Any, NoReturn, SupportsIndex

from torch import nn
from torch.overrides import TorchFunctionMode

from quant_torch._torch_internals import current_backward_id
from quant_torch.quantization._eager._call_sites import SiteKey, looked_into, module_key, site_key
from quant_torch.quantization._eager._pickling import refuse
from quant_torch.quantization._eager._sites import Site
from quant_torch.quantization._eager._state import PreparedState
from quant_torch.quantization._eager.supported_ops_registry import COMPOSITES, TorchFunction
from quant_torch.quantization._module_configs import ModuleSettings

_running = threading.local()


class CallFrame:
    """One running module call; counts how often each call site was passed.

    Attributes:
        scope: Of the module.
        path: Which of the places that call the module this is (:meth:`ModuleScope.path_from`).
        visits: How often each call site, of operations and modules, was passed so far.
    """

    __slots__ = ("path", "scope", "visits")

    def __init__(self, scope: ModuleScope, path: int) -> None:
        self.scope = scope
        self.path = path
        self.visits: dict[SiteKey, int] = {}

    def next_visit(self, key: SiteKey) -> int:
        """How often the site was passed before, in this call."""
        visit = self.visits.get(key, 0)
        self.visits[key] = visit + 1
        return visit


class ModuleScope:
    """Stands in for the forward of one module: knows when it runs, and its call sites.

    Not hooks: those are skipped when a run is interrupted, and the mode would stay on.

    Attributes:
        name: Name of the module in the model; the empty string for the model itself.
        module: The module.
        settings: What the config says about the module.
        state: Shared by the scopes of one model.
        sites: Per site key, the sites of the first, second, … visit within one module call; None
            where nothing is quantized.
        op_counts: How many sites each operation name has.
        paths: Numbers of the places that call the module, in the order in which they were reached.
    """

    def __init__(
        self, name: str, module: nn.Module, settings: ModuleSettings, state: PreparedState
    ) -> None:
        self.name = name
        self.module = module
        self.settings = settings
        self.state = state
        self.sites: dict[SiteKey, list[Site | None]] = {}
        self.op_counts: dict[str, int] = {}
        self.paths: dict[SiteKey, int] = {}
        self._own_forward = module.__dict__.get("forward")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refused, with what to do instead."""
        refuse()

    def __deepcopy__(self, memo: dict[int, Any]) -> ModuleScope:
        twin = object.__new__(ModuleScope)
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def attach(self) -> None:
        """Take the place of the module's forward."""
        self.module.forward = self

    def detach(self) -> None:
        """Give the module its forward back."""
        del self.module.__dict__["forward"]
        if self._own_forward is not None:
            self.module.forward = self._own_forward

    @property
    def __signature__(self) -> inspect.Signature:
        forward = self._own_forward
        if forward is not None:
            return inspect.signature(forward)
        signature = inspect.signature(type(self.module).forward)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @property
    def __code__(self) -> CodeType:
        """Code of the module's own forward; torch.export names the model's source by it."""
        forward = self._own_forward or type(self.module).forward
        code: CodeType = forward.__code__
        return code

    @property
    def __globals__(self) -> dict[str, Any]:
        """Names that the module's own forward sees; torch.library resolves annotations by them."""
        forward = self._own_forward or type(self.module).forward
        names: dict[str, Any] = forward.__globals__
        return names

    def full_name(self, op_name: str) -> str:
        """Name of an operation in the model: ``"block.add_1"``."""
        return f"{self.name}.{op_name}" if self.name else op_name

    def new_op_name(self, function_name: str) -> str:
        """Name for a new site: ``"add"``, then ``"add_1"``, and so on."""
        count = self.op_counts.get(function_name, 0)
        self.op_counts[function_name] = count + 1
        return f"{function_name}_{count}" if count else function_name

    def path_from(self, caller: CallFrame | None) -> int:
        """Number of the place that calls the module; each has call sites of its own (PLACE-11).

        A place is one of the calling module's call sites, its visit there, and the place that
        called that module. Called from nowhere, as when a user runs a part of a model, the module
        takes the first place that it knows.

        Raises:
            RuntimeError: Activation checkpointing calls it again, and there are several.
        """
        if caller is None:
            if len(self.paths) > 1 and current_backward_id() != -1:
                raise RuntimeError(
                    f"{self.name} is called at {len(self.paths)} places, each with quantizers of "
                    "its own, and activation checkpointing does not say which of them it "
                    "recomputes: checkpoint the module around them, or none"
                )
            return 0
        key = (self.name, *module_key(4, _RUN, self.state.codes))
        place = (caller.scope.name, caller.path, caller.next_visit(key), *key)
        return self.paths.setdefault(place, len(self.paths))

    def put(self, key: SiteKey, visit: int, site: Site | None) -> None:
        """Set what happens at the given visit of a call site."""
        visits = self.sites.setdefault(key, [])
        visits.extend([None] * (visit + 1 - len(visits)))
        visits[visit] = site

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module's forward with its call sites quantized."""
        mode: SiteMode | None = getattr(_running, "mode", None)
        if mode is not None and mode.state is self.state:
            return self._run(mode, args, kwargs)
        inner = SiteMode(self.state)
        _running.mode = inner
        try:
            with inner:
                return self._run(inner, args, kwargs)
        finally:
            _running.mode = mode

    def _run(self, mode: SiteMode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        frame = CallFrame(self, self.path_from(mode.frames[-1] if mode.frames else None))
        trace = self.state.trace
        mode.frames.append(frame)
        try:
            if trace is not None:
                trace.module_entered(self, args, kwargs)
            if self._own_forward is None:
                output = type(self.module).forward(self.module, *args, **kwargs)
            else:
                output = self._own_forward(*args, **kwargs)
            if trace is not None:
                trace.module_left(output)
            return output
        finally:
            mode.frames.pop()


_RUN = ModuleScope._run.__code__


class SiteMode(TorchFunctionMode):
    """Sees every torch function while a prepared model runs."""

    def __init__(self, state: PreparedState) -> None:
        super().__init__()
        self.state = state
        self.frames: list[CallFrame] = []

    def __torch_function__(
        self,
        func: TorchFunction,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one torch function, quantized where the running module has a site for it."""
        kwargs = kwargs or {}
        if func in COMPOSITES:
            with self:
                return looked_into(func)(*args, **kwargs)
        state = self.state
        op_name = state.functions.get(func)
        if state.trace is not None:
            op_name = op_name or getattr(func, "__name__", "function")
        elif op_name is None:
            return func(*args, **kwargs)
        frame = self.frames[-1]
        key = site_key(op_name, frame.path, 2, _RUN, state.codes)
        visit = frame.next_visit(key)
        if state.trace is not None:
            result = func(*args, **kwargs)
            state.trace.called(frame.scope, func, key, visit, args, kwargs, result)
            return result
        sites = frame.scope.sites.get(key)
        if sites is not None and visit < len(sites):
            site = sites[visit]
        else:
            site = self._reached_first(frame.scope, func, key, visit, args, kwargs)
        return func(*args, **kwargs) if site is None else site.run(func, args, kwargs)

    def _reached_first(
        self,
        scope: ModuleScope,
        func: TorchFunction,
        key: SiteKey,
        visit: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Site | None:
        """The site of a call that the example inputs did not lead to."""
        place = (scope.name, key, visit)
        if not self.state.observing and place in self.state.passed_by:
            return None
        site = self.state.new_site(scope, func, args, kwargs, attach=self.state.observing)
        if self.state.observing:
            scope.put(key, visit, site)
            return site
        self.state.passed_by.add(place)
        if site is not None:
            warnings.warn(
                f"{scope.full_name(site.name)} was not reached by the example inputs and is not "
                "quantized; calibrate with inputs that lead there",
                stacklevel=2,
            )
        return None


def scopes_of(model: nn.Module) -> list[ModuleScope]:
    """The scopes of a prepared model, or of one of its modules."""
    forwards = (module.__dict__.get("forward") for module in model.modules())
    return [forward for forward in forwards if isinstance(forward, ModuleScope)]


def site_at(model: nn.Module, name: str, key: SiteKey, visit: int) -> Site | None:
    """The site of a call in a prepared model, or None where nothing is quantized there."""
    scope = model.get_submodule(name).__dict__.get("forward")
    visits = scope.sites.get(key, []) if isinstance(scope, ModuleScope) else []
    return visits[visit] if visit < len(visits) else None
