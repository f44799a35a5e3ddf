"""coreai-runtime: programs authored from numpy, run by the Core AI CPU runtime.

No exporter takes part: what is judged is the runtime's own arithmetic, reached through
``coreai.authoring``, with the qparams as constants of the program as in an exported model. The
runtime lives in a child process; cases are answered many at a time (``prepare``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_conformance.backends._coreai_requests import (
    Manner,
    cast_request,
    dequantize_request,
    fake_quantize_request,
    quantize_request,
    statistics_requests,
)
from quant_conformance.backends._formats import lacking
from quant_conformance.operations import OPERATIONS
from quant_conformance.protocol import Array, Backend
from quant_conformance.runtimes.coreai.client import Runtime, answer_all
from quant_conformance.runtimes.coreai.requests import Request
from quant_reference import SPEC_FORMATS, QParams, QuantizationSpec, scale_shape

if TYPE_CHECKING:
    from quant_vectors import Case

BATCH = 64
"""Requests per program; larger ones gain little, and cost more when one of them fails."""


class CoreAIRuntime(Backend):
    """``quantize``, ``dequantize``, ``blockwise_shift_scale``, ``cast``, quantization statistics.

    Weights are dequantized by ``blockwise_shift_scale``, activations by ``dequantize`` (by the
    former too in blocks, which the latter does not know).
    """

    name = "coreai-runtime"
    requires = ("coreai-core=coreai",)
    checks_input = False

    def __init__(self) -> None:
        self._runtime = Runtime()
        self._manner = Manner()
        self._waiting: dict[tuple[object, ...], Request] = {}
        self._answers: dict[tuple[object, ...], Array | Exception] = {}

    def supports(self, case: Case) -> str | None:
        self._manner = Manner.of(case)
        return lacking(case, SPEC_FORMATS, "Core AI")

    def prepare(self, questions: Sequence[tuple[Case, Mapping[str, Array]]]) -> None:
        """Notes what will be asked, so that the runtime can be asked many requests at a time."""
        for case, tensors in questions:
            operation = OPERATIONS[case.operation]
            if self.supports(case) is not None:
                continue
            for request in self._requests(operation.method, operation.arguments(case, tensors)):
                self._waiting.setdefault(request.key, request)

    def encode(self, x: Array, fmt: str) -> Array:
        return self._answer(*self._encode(x, fmt))

    def decode(self, codes: Array, fmt: str) -> Array:
        return self._answer(*self._decode(codes, fmt))

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._answer(*self._quantize(x, spec, qparams))

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._answer(*self._dequantize(codes, spec, qparams))

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._answer(*self._fake_quantize(x, spec, qparams))

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        scale, *zero_point = (self._answer(r) for r in self._qparams(x, spec, target))
        scale = scale.astype(np.float32)  # it comes in x's dtype; widening is exact
        shape = scale_shape(x.shape, spec.granularity, "activation")
        if zero_point:
            return QParams(scale.reshape(shape), zero_point[0].reshape(shape), None)
        # The symmetric statistic has no offset because its zero is the integer 0.
        zero = np.zeros(shape, np.int32) if spec.format.is_integer else None
        return QParams(scale.reshape(shape), zero, None)

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        _dynamic_only(kind)
        return self.qparams(batches[-1], spec, target)

    def _requests(self, method: str, arguments: Sequence[Any]) -> list[Request]:
        builder = self._builders().get(method)
        if builder is None:
            return []
        try:
            return builder(*arguments)
        except Exception:  # the method itself will say so, as the verdict on its case
            return []

    def _builders(self) -> dict[str, Callable[..., list[Request]]]:
        return {
            "encode": self._encode,
            "decode": self._decode,
            "quantize": self._quantize,
            "dequantize": self._dequantize,
            "fake_quantize": self._fake_quantize,
            "qparams": self._qparams,
            "observe": self._observe,
        }

    def _encode(self, x: Array, fmt: str) -> list[Request]:
        return [cast_request(x, x.dtype.name, fmt)]

    def _decode(self, codes: Array, fmt: str) -> list[Request]:
        return [cast_request(codes, fmt, "float32")]

    def _quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> list[Request]:
        return [quantize_request(x, spec, qparams, self._manner)]

    def _dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> list[Request]:
        return [dequantize_request(codes, spec, qparams, self._manner)]

    def _fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> list[Request]:
        return [fake_quantize_request(x, spec, qparams, self._manner)]

    def _qparams(self, x: Array, spec: QuantizationSpec, target: str) -> list[Request]:
        return statistics_requests(x, spec, self._manner)

    def _observe(
        self, batches: Sequence[Array], spec: QuantizationSpec, target: str, kind: str, _: float
    ) -> list[Request]:
        _dynamic_only(kind)
        return statistics_requests(batches[-1], spec, self._manner)

    def _answer(self, request: Request) -> Array:
        if request.key not in self._answers:
            batch = {request.key: request, **dict(islice(self._waiting.items(), BATCH - 1))}
            for key in batch:
                self._waiting.pop(key, None)
            for asked, answer in answer_all(self._runtime, list(batch.values())):
                self._answers[asked.key] = answer
        answer = self._answers[request.key]
        if isinstance(answer, Exception):
            raise answer
        return answer


def _dynamic_only(kind: str) -> None:
    if kind != "dynamic":
        raise NotImplementedError("the runtime has statistics of one tensor, no observer state")
