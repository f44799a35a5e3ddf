"""numpy-reference: the executable spec, judged by the vectors that were frozen from it.

It cannot prove itself right (an oracle in exact fractions does that elsewhere); it shows that
the code still gives the answers that everyone else is held to, also on this numpy and CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import quant_reference as ref
from quant_conformance.plain_layers import Layers
from quant_conformance.protocol import Array, Backend
from quant_reference.admissible import FloatLayer, Layer
from quant_reference.batch_norm import BatchNorm, fold_batch_norm
from quant_reference.granularity import Target
from quant_reference.lifecycle import Lifecycle, Trace, run_lifecycle
from quant_reference.observers import ObserverKind
from quant_reference.packing import PackOrder


class _PlainLayers(Layers):
    """Between the quantizers plain numpy, which is one admissible evaluation."""

    quantize = staticmethod(ref.quantize)
    dequantize = staticmethod(ref.dequantize)


class NumpyReference(Backend):
    """``quant_reference``, called and nothing else."""

    name = "numpy-reference"
    requires = ("numpy", "ml_dtypes")

    def encode(self, x: Array, fmt: str) -> Array:
        return ref.encode(x, fmt)

    def decode(self, codes: Array, fmt: str) -> Array:
        return ref.decode(codes, fmt)

    def pack(self, codes: Array, fmt: str, order: str) -> Array:
        return ref.pack(codes, fmt, cast(PackOrder, order))

    def unpack(self, packed: Array, fmt: str, order: str, count: int) -> Array:
        return ref.unpack(packed, fmt, cast(PackOrder, order), count)

    def value_range(self, x: Array, spec: ref.QuantizationSpec, target: str) -> tuple[Array, Array]:
        return ref.value_range(x, spec, cast(Target, target))

    def qparams(self, x: Array, spec: ref.QuantizationSpec, target: str) -> ref.QParams:
        return ref.compute_qparams(*self.value_range(x, spec, target), spec)

    def quantize(self, x: Array, spec: ref.QuantizationSpec, qparams: ref.QParams) -> Array:
        return ref.quantize(x, spec, qparams)

    def dequantize(self, codes: Array, spec: ref.QuantizationSpec, qparams: ref.QParams) -> Array:
        return ref.dequantize(codes, spec, qparams)

    def fake_quantize(self, x: Array, spec: ref.QuantizationSpec, qparams: ref.QParams) -> Array:
        return ref.fake_quantize(x, spec, qparams)

    def gradient(
        self, x: Array, grad: Array, spec: ref.QuantizationSpec, qparams: ref.QParams
    ) -> Array:
        return ref.fake_quantize_gradient(x, grad, spec, qparams)

    def observe(
        self,
        batches: Sequence[Array],
        spec: ref.QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> ref.QParams:
        observer = ref.make_observer(
            cast(ObserverKind, kind), spec, cast(Target, target), averaging_constant
        )
        for batch in batches:
            observer = observer.update(batch)
        return observer.qparams()

    def default_axis(self, module_kind: str, granularity: Any) -> int:
        return ref.default_axis(module_kind, granularity)

    def fold_batch_norm(
        self, weight: Array, bias: Array | None, norm: BatchNorm, transposed: bool, groups: int
    ) -> tuple[Array, Array]:
        n = norm
        return fold_batch_norm(
            weight, bias, n.gamma, n.beta, n.mean, n.variance, n.eps,
            transposed=transposed, groups=groups,
        )  # fmt: skip

    def lifecycle(self, life: Lifecycle) -> Trace:
        return run_lifecycle(life)

    def export_weights(
        self, x: Array, spec: ref.QuantizationSpec, module_kind: str
    ) -> tuple[Array, ref.QParams]:
        """Nothing is saved here: this is what a file has to hold."""
        spec = replace(spec, granularity=_with_axis(spec.granularity, module_kind))
        qparams = self.qparams(x, spec, "weight")
        codes = ref.quantize(x, spec, qparams)
        if spec.qformulation == "minval":
            return codes, ref.QParams(qparams.scale, None, qparams.minval)
        return codes, ref.QParams(qparams.scale, qparams.zero_point, None)

    def layer(self, layer: Layer) -> Array:
        return _PlainLayers().layer(layer)

    def float_layer(self, layer: FloatLayer) -> Array:
        return _PlainLayers().float_layer(layer)

    def validate_spec(self, mapping: Mapping[str, Any]) -> None:
        ref.QuantizationSpec.from_dict(mapping)


def _with_axis(granularity: ref.Granularity, module_kind: str) -> ref.Granularity:
    """Completes an axis of None (GRAN-7); a tuple of extents has no axis to complete (GRAN-5)."""
    if isinstance(granularity, ref.PerTensor) or granularity.axis is not None:
        return granularity
    if isinstance(granularity, ref.PerBlock) and isinstance(granularity.block_size, tuple):
        return granularity
    return replace(granularity, axis=ref.default_axis(module_kind, granularity))
