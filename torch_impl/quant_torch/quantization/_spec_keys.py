"""Keys in spec dicts that name nothing: a misspelt argument, an index that is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quant_torch._suggest import closest
from quant_torch.quantization.config._fields import EVERY

_WHAT = {
    "op_input_spec": "input of the operations that it is for",
    "op_output_spec": "output of the operations that it is for",
    "op_state_spec": "state of the operations that it is for",
    "module_input_spec": "tensor that the module takes",
    "module_output_spec": "tensor that the module returns",
    "module_state_spec": "parameter or buffer of the module",
}
_ALWAYS_KNOWN = ("weight", "bias")


class SpecKeys:
    """Collects what the keys of each spec dict could have named; warns about the others."""

    def __init__(self) -> None:
        self._offered: dict[int, tuple[str, Mapping[Any, Any], dict[int | str, None]]] = {}

    def offer(self, field: str, specs: Mapping[Any, Any], *keys: int | str | None) -> None:
        """Note the keys by which a tensor goes in a dict.

        Args:
            field: Name of the dict in its config.
            specs: The dict; several tensors are offered to one.
            *keys: Index and names of the tensor.
        """
        known = self._offered.setdefault(id(specs), (field, specs, {}))[2]
        known.update(dict.fromkeys(key for key in keys if key is not None))

    def warn_about_unknown(self, warn: Callable[[str], None]) -> None:
        """Warn about every key that names no tensor, with the closest name and all that there are.

        Args:
            warn: Gives the warning.
        """
        for field, specs, known in self._offered.values():
            always = _ALWAYS_KNOWN if field.endswith("state_spec") else ()
            for key in specs:
                if key == EVERY or key in known or key in always:
                    continue
                near = closest(str(key), [str(k) for k in known], 1) if isinstance(key, str) else ""
                listed = ", ".join(repr(k) for k in (*known, EVERY))
                warn(f"{field} key {key!r} names no {_WHAT[field]}{near}; there are {listed}")
