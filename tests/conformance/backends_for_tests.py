"""Backends that the tests run, right ones and hostile ones; loaded as path/file.py:Class."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from quant_conformance import Backend
from quant_conformance.backends.numpy_reference import NumpyReference


def reference(name: str) -> str:
    """The ``path/file.py:Class`` of a class in this file."""
    return f"{Path(__file__).resolve()}:{name}"


class Powers(Backend):
    """Encodes powers of two as float8_e4m3fn; all that the encode cases of sets.py need."""

    name = "powers"

    def versions(self) -> dict[str, str]:
        return {"powers": "1.5"}

    def encode(self, x: Any, fmt: str) -> Any:
        exponent = np.log2(np.abs(x)).astype(np.uint8)
        return ((exponent + 7) << 3) | np.where(x < 0, 0x80, 0).astype(np.uint8)


class OneBit(NumpyReference):
    """Wrong in one bit of one element of one case."""

    name = "one-bit"

    def quantize(self, x: Any, spec: Any, qparams: Any) -> Any:
        codes = super().quantize(x, spec, qparams)
        if x.shape == (3,):
            codes[1] ^= 1
        return codes


class TiesAway(NumpyReference):
    """Rounds ties away from zero where zero points are zero."""

    name = "ties-away"

    def quantize(self, x: Any, spec: Any, qparams: Any) -> Any:
        quotient = x / qparams.scale
        away = np.trunc(quotient + np.copysign(np.float32(0.5), quotient))
        return np.clip(away, spec.quant_min, spec.quant_max).astype(spec.format.code_dtype)


def _hostile(act: Any) -> type[Backend]:
    """A Powers that does ``act`` when it sees 4.0 (the third of every eight cases)."""

    class Hostile(Powers):
        name = "hostile"

        def encode(self, x: Any, fmt: str) -> Any:
            right = super().encode(x, fmt)
            return act(x, right) if x[0] == 4 else right

    return Hostile


def _raise(error: BaseException) -> Any:
    raise error


def _mutate(x: Any, right: Any) -> Any:
    x[0] = 77
    return right


def _reshape(x: Any, right: Any) -> Any:
    x.shape = (2, 1)
    return right


def _print(x: Any, right: Any) -> Any:
    for _ in range(64):
        os.write(1, b"o" * (1 << 16))
        print("e" * (1 << 16), file=sys.stderr)
    return right


def _mumble_and_exit(x: Any, right: Any) -> Any:
    os.write(2, b"last words")
    os._exit(7)


class _UntellableError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


Raises = _hostile(lambda x, right: _raise(RuntimeError("no such kernel")))
RaisesBase = _hostile(lambda x, right: _raise(GeneratorExit()))
RaisesInterrupt = _hostile(lambda x, right: _raise(KeyboardInterrupt()))
RaisesBadText = _hostile(lambda x, right: _raise(_UntellableError()))
NotThisCase = _hostile(lambda x, right: _raise(NotImplementedError("4 is not offered")))
Exits = _hostile(lambda x, right: sys.exit(0))
OsExits = _hostile(_mumble_and_exit)
Segfaults = _hostile(lambda x, right: ctypes.string_at(0))
Hangs = _hostile(lambda x, right: time.sleep(3600))
ReturnsNone = _hostile(lambda x, right: None)
ReturnsText = _hostile(lambda x, right: "codes")
ReturnsList = _hostile(lambda x, right: right.tolist())
ReturnsScalar = _hostile(lambda x, right: right[0])
ReturnsZeroDim = _hostile(lambda x, right: np.array(right[0]))
ReturnsNanShape = _hostile(lambda x, right: np.full((0, 5), np.nan, np.float32))
ReturnsObjects = _hostile(lambda x, right: right.astype(object))
ReturnsOtherDtype = _hostile(lambda x, right: right.astype(np.int64))
ReturnsHuge = _hostile(lambda x, right: np.broadcast_to(np.uint8(1), (1 << 40,)))
ReturnsSubclass = _hostile(lambda x, right: right.view(np.recarray))
Mutates = _hostile(_mutate)
Reshapes = _hostile(_reshape)
Prints = _hostile(_print)


class RaisesStrangeText(Powers):
    """Raises a text that no terminal can show."""

    name = "raises-strange-text"

    def encode(self, x: Any, fmt: str) -> Any:
        raise RuntimeError("é µ ✓ \ud800")


class HangsAlways(Powers):
    name = "hangs-always"

    def encode(self, x: Any, fmt: str) -> Any:
        time.sleep(3600)

    def decode(self, codes: Any, fmt: str) -> Any:
        return np.zeros(codes.shape, np.float32)


class Patient(Powers):
    """Slower than the limit, but no slower than it says."""

    name = "patient"
    patience = 200.0

    def encode(self, x: Any, fmt: str) -> Any:
        time.sleep(0.5)
        return super().encode(x, fmt)


class ReadsInput(Powers):
    name = "reads-input"

    def encode(self, x: Any, fmt: str) -> Any:
        if sys.stdin.read():
            raise RuntimeError("there is something on standard input")
        return super().encode(x, fmt)


class Blunders(Powers):
    name = "blunders"

    def encode(self, x: Any, fmt: str) -> Any:
        return x.no_such_attribute


class SetsErrorModes(Powers):
    """Leaves numpy raising on every overflow."""

    name = "sets-error-modes"

    def encode(self, x: Any, fmt: str) -> Any:
        np.seterr(all="raise")
        return super().encode(x, fmt)


class DiesInConstructor(Powers):
    def __init__(self) -> None:
        os._exit(9)


class RaisesInConstructor(Powers):
    name = "raises-in-constructor"

    def __init__(self) -> None:
        raise SystemExit("no device")


class HangsInConstructor(Powers):
    def __init__(self) -> None:
        time.sleep(3600)


class LacksPackage(Powers):
    name = "lacks-package"
    requires = ("no-such-package-anywhere",)


class LacksPackageLate(Powers):
    name = "lacks-package-late"
    pip = "pip install the-right-thing"

    def __init__(self) -> None:
        import no_such_package_anywhere  # noqa: F401


class Prepares(Powers):
    """Spoils what it is told, prints, and raises."""

    name = "prepares"

    def prepare(self, questions: Any) -> None:
        for _, tensors in questions:
            tensors["x"][:] = 0
        os.write(1, b"prepared")
        sys.exit("not ready")


class HangsInPrepare(Powers):
    name = "hangs-in-prepare"

    def prepare(self, questions: Any) -> None:
        time.sleep(3600)


class DiesInPrepare(Powers):
    name = "dies-in-prepare"

    def prepare(self, questions: Any) -> None:
        os._exit(4)


class Picky(Powers):
    """Leaves out a case in the quick tier and gives a reason for another."""

    name = "picky"
    policies: ClassVar = {"nan_payload": "any_nan"}

    def selects(self, case: Any, tier: str) -> bool:
        return tier == "full" or not case.id.endswith("-0")

    def supports(self, case: Any) -> str | None:
        return "no power of one" if case.id.endswith("-1") else None


class Nothing(Backend):
    """Has no method at all."""

    name = "nothing"


class Misspelt(Backend):
    """Means encode, and isolated."""

    name = "misspelt"
    isolate = False

    def encoder(self, x: Any, fmt: str) -> Any:
        return Powers().encode(x, fmt)

    def warm(self) -> None:
        """A helper that resembles nothing."""


class PartlyMisspelt(Powers):
    name = "partly-misspelt"

    def decodeX(self, codes: Any, fmt: str) -> Any:  # noqa: N802
        return codes

    def warm(self) -> None:
        """A helper that resembles nothing."""


class Fields(Powers):
    """Attributes that it may have; a helper beside a method of the protocol."""

    name = "fields"
    device = "cpu"

    def encode_rows(self, x: Any, fmt: str) -> Any:
        return self.encode(x, fmt)


class TakesTooLittle(Powers):
    def encode(self, x: Any) -> Any:  # type: ignore[override]
        return x


class TakesTooMuch(Powers):
    def validate_spec(self, mapping: Any, strict: bool) -> None:  # type: ignore[override]
        return None


class NoMethod(Powers):
    decode = None  # type: ignore[assignment]


class VersionsAreNoMethod(Powers):
    versions = {"powers": "1"}  # type: ignore[assignment]  # noqa: RUF012


class RequiresText(Powers):
    requires = "onnxruntime"  # type: ignore[assignment]


class PatienceIsText(Powers):
    patience = "long"  # type: ignore[assignment]


class IsolatedIsText(Powers):
    isolated = "no"  # type: ignore[assignment]


class SupportsIsTrue(Powers):
    """Means that it supports the case."""

    name = "supports-is-true"

    def supports(self, case: Any) -> Any:
        return True


class SupportsNothing(Powers):
    name = "supports-nothing"

    def supports(self, case: Any) -> str | None:
        return "not today"


class SelectsNothing(Powers):
    name = "selects-nothing"

    def selects(self, case: Any, tier: str) -> bool:
        return False


class UnknownPolicies(Powers):
    policies: ClassVar = {"nan_payloads": "any_nan", "nan_payload": "any-nan"}


class CrashesOnBadInput(Powers):
    """A bare kernel: on bad input it takes the process with it."""

    name = "crashes-on-bad-input"
    checks_input = False

    def encode(self, x: Any, fmt: str) -> Any:
        if np.isnan(x).any():
            os._exit(11)
        return super().encode(x, fmt)


class NotABackend:
    pass


a_value = 3
