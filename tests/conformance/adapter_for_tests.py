"""An adapter with faults, as somebody else would write it: what ``explain`` shows of them."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from quant_conformance.backends.numpy_reference import NumpyReference


class Faulty(NumpyReference):
    """Raises two calls deep, prints by three ways, and is wrong in one block and one element."""

    name = "faulty"

    def encode(self, x: Any, fmt: str) -> Any:
        return convert(x)

    def decode(self, codes: Any, fmt: str) -> Any:
        print(f"decoding {codes.shape}")
        os.write(2, b"a line from below\n")
        ctypes.CDLL(None).printf(b"a line from C, not flushed\n")
        return super().decode(codes, fmt)

    def qparams(self, *given: Any, **named: Any) -> Any:
        found = super().qparams(*given, **named)
        found.scale.reshape(-1)[-1] *= 2
        return found

    def layer(self, layer: Any) -> Any:
        codes = super().layer(layer)
        codes.reshape(-1)[5] += 3
        return codes

    def pack(self, codes: Any, fmt: str, order: Any) -> Any:
        return codes.reshape(-1, 3)  # raised inside numpy


def convert(x: Any) -> Any:
    return x.no_such_method()


class ExitsLoudly(Faulty):
    """Prints from Python and leaves."""

    name = "exits-loudly"

    def decode(self, codes: Any, fmt: str) -> Any:
        print("about to give up")
        os._exit(3)
