"""What the modules of one prepared model share, and whom they report to."""

from __future__ import annotations

from typing import Any, Protocol

from quant_torch.quantization._eager._call_sites import Codes, SiteKey
from quant_torch.quantization._eager._sites import Site
from quant_torch.quantization._eager.supported_ops_registry import TorchFunction


class Recorder(Protocol):
    """Learns what happens while a model runs."""

    def module_entered(self, scope: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module starts to run."""

    def module_left(self, output: Any) -> None:
        """The module that started last ends."""

    def called(
        self,
        scope: Any,
        function: TorchFunction,
        key: SiteKey,
        visit: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> None:
        """An operation ran."""


class SitePlanner(Protocol):
    """Makes the site of a call that is reached for the first time."""

    def __call__(
        self,
        scope: Any,
        function: TorchFunction,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        attach: bool,
    ) -> Site | None:
        """The site, or None if nothing is quantized; its modules are made only to attach them."""


class PreparedState:
    """What the scopes of one prepared model share.

    Args:
        new_site: Makes the sites that the example inputs did not lead to.

    Attributes:
        new_site: As above.
        functions: Name of every function at which something may be quantized.
        trace: Where calls are recorded while tracing, else None.
        observing: Whether observers are on: a site that is reached for the first time is then
            quantized too.
        quantizing: Whether fake-quantization is on, for such sites.
        codes: The code objects that the keys of call sites name.
        passed_by: Sites that were reached too late to be quantized; each is warned about once.
    """

    def __init__(self, new_site: SitePlanner) -> None:
        self.new_site = new_site
        self.functions: dict[TorchFunction, str] = {}
        self.trace: Recorder | None = None
        self.observing = False
        self.quantizing = True
        self.codes: Codes = {}
        self.passed_by: set[tuple[str, SiteKey, int]] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> PreparedState:
        twin = PreparedState(self.new_site)
        memo[id(self)] = twin
        twin.functions = dict(self.functions)  # functions are shared, as functions always are
        twin.observing, twin.quantizing = self.observing, self.quantizing
        twin.codes = dict(self.codes)
        twin.passed_by = set(self.passed_by)
        return twin
