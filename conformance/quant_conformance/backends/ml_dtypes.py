"""ml-dtypes: the number formats behind JAX and the ONNX tooling, as numpy casts."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.protocol import Array, Backend


class MlDtypes(Backend):
    """``astype`` to and from the extension dtypes; there is nothing else in the package."""

    name = "ml-dtypes"
    requires = ("ml_dtypes",)
    checks_input = False

    def __init__(self) -> None:
        import ml_dtypes

        self._module = ml_dtypes

    def encode(self, x: Array, fmt: str) -> Array:
        if fmt.startswith(("int", "uint")):
            raise NotImplementedError("casts to integers wrap around; they do not quantize")
        codes: Array = x.astype(self._dtype(fmt)).view(np.uint8)
        return codes

    def decode(self, codes: Array, fmt: str) -> Array:
        if fmt in ("int8", "uint8"):
            raise NotImplementedError(f"{fmt} is numpy's own dtype")
        dtype = self._dtype(fmt)
        if fmt.startswith(("int", "uint")):
            return codes.astype(dtype).astype(np.float32)
        values: Array = codes.view(dtype).astype(np.float32)
        return values

    def _dtype(self, fmt: str) -> Any:
        name = "float8_e4m3" if fmt == "float8_e4m3ieee" else fmt
        if not hasattr(self._module, name):
            raise NotImplementedError(f"ml_dtypes has no {fmt}")
        return np.dtype(getattr(self._module, name))
