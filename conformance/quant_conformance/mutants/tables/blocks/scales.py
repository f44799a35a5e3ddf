"""Mutants of the scales of blocks (SPEC.md, BLK-2 to BLK-4)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import Mutant, known
from quant_conformance.protocol import Array
from quant_reference.block import BlockForm

SCALE = ("block_scale",)
F32 = np.float32


def _amax(change: Any) -> Step:
    """Another greatest magnitude, from that of the reference, the values and the form."""

    def block_amax(p: Mutated, values: Array, form: BlockForm) -> Array:
        return np.asarray(change(p.right.block_amax(values, form), values, form), F32)

    return block_amax


def _view(values: Array, form: BlockForm, reduce: Any) -> Array:
    axis = form.check(values.shape)
    missing = -values.shape[axis] % form.size
    widths = [(0, missing if i == axis else 0) for i in range(values.ndim)]
    full = np.pad(values, widths)
    shape = (*full.shape[:axis], full.shape[axis] // form.size, form.size, *full.shape[axis + 1 :])
    return np.asarray(reduce(full.reshape(shape), axis + 1))


def _interleaved(amax: Array, values: Array, form: BlockForm) -> Array:
    axis = form.check(values.shape)
    count = values.shape[axis] // form.size
    if values.shape[axis] % form.size or count < 2:
        return amax
    shape = (*values.shape[:axis], form.size, count, *values.shape[axis + 1 :])
    return np.asarray(np.abs(values.reshape(shape)).max(axis=axis, initial=0))


def _other_axis(amax: Array, values: Array, form: BlockForm) -> Array:
    """The blocks of a square are cut along the other axis."""
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        return amax
    turned = np.abs(values.T).reshape(-1, form.size, values.shape[1])
    return np.asarray(turned.max(axis=1, initial=0)) if form.axis == 0 else amax


def _tail_lost(amax: Array, values: Array, form: BlockForm) -> Array:
    axis = form.check(values.shape)
    if values.shape[axis] % form.size == 0:
        return amax
    found = amax.copy()
    found[(slice(None),) * axis + (-1,)] = 1
    return found


AMAX: dict[str, tuple[str, str, Any]] = {
    "signed": ("BLK-3 BLK-4", "greatest number instead of the greatest magnitude", lambda a, v, f: (
        _view(v, f, lambda x, i: x.max(axis=i, initial=0)))),
    "negative": ("BLK-3 BLK-4", "least number instead of the greatest magnitude", lambda a, v, f: (
        -_view(v, f, lambda x, i: x.min(axis=i, initial=0)))),
    "first": ("BLK-2", "magnitude of the first element", lambda a, v, f: (
        _view(np.abs(v), f, lambda x, i: x.take(0, axis=i)))),
    "mean": ("BLK-3 BLK-4", "mean magnitude", lambda a, v, f: (
        _view(np.abs(v), f, lambda x, i: x.mean(axis=i)))),
    "without-last": ("BLK-2", "magnitude without the last element", lambda a, v, f: (
        _view(np.abs(v), f, lambda x, i: x.take(range(max(f.size - 1, 1)), axis=i).max(
            axis=i, initial=0)))),
    "tensor": ("BLK-2", "magnitude of the whole tensor", lambda a, v, f: (
        np.full_like(a, np.abs(v).max(initial=0)))),
    "next-block": ("BLK-2", "magnitude of the block before", lambda a, v, f: np.roll(a, 1)),
    "interleaved": ("BLK-2", "magnitude of every n-th element", _interleaved),
    "other-axis": ("BLK-2", "magnitude along the other axis", _other_axis),
    "tail": ("BLK-2", "magnitude 1 for a short block", _tail_lost),
    "without-nan": ("BLK-3 BLK-4", "magnitude of what is no NaN", lambda a, v, f: (
        _view(np.nan_to_num(np.abs(v), nan=0, posinf=np.inf), f,
              lambda x, i: x.max(axis=i, initial=0)))),
    "without-infinity": ("BLK-3 BLK-4", "magnitude of what is finite", lambda a, v, f: (
        _view(np.where(np.isinf(v), 0, np.abs(v)), f, lambda x, i: x.max(axis=i, initial=0)))),
    "float16": ("BLK-2", "magnitude in float16", lambda a, v, f: wrong.through(np.float16)(a)),
    "bfloat16": ("BLK-2", "magnitude in bfloat16",
                 lambda a, v, f: wrong.through(ml_dtypes.bfloat16)(a)),
    "twice": ("BLK-3 BLK-4", "twice the magnitude", lambda a, v, f: a * F32(2)),
    "half": ("BLK-3 BLK-4", "half the magnitude", lambda a, v, f: a / F32(2)),
}  # fmt: skip
"""What is wrong with the greatest magnitude: clauses, in words, and how."""


def _amaxes() -> list[Mutant]:
    return [
        known(f"block-amax-{name}", f"takes the {text} of a block", clauses, SCALE,
              block_amax=_amax(change))
        for name, (clauses, text, change) in AMAX.items()
    ]  # fmt: skip


def _exponent(change: Any) -> Step:
    def scale_exponent(p: Mutated, amax: Array, element: Any, rule: str) -> Array:
        return np.asarray(change(p.right.scale_exponent(amax, element, rule), amax, element))

    return scale_exponent


def _nearest(exponent: Array, amax: Array, element: Any) -> Array:
    return exponent + (2 * np.frexp(amax)[0] >= 1.5)


EXPONENTS: dict[str, tuple[str, Any]] = {
    "nearest": ("rounds the exponent to the nearer power of two", _nearest),
    "up-by-one": ("adds one to the exponent", lambda e, a, f: e + 1),
    "down-by-one": ("takes one from the exponent", lambda e, a, f: e - 1),
    "up-at-the-greatest": ("rounds up from the greatest value on", lambda e, a, f: (
        e + (2 * np.frexp(a)[0] >= f.quant_max / 2.0**f.max_pow2))),
    "up-beyond-sqrt2": ("rounds up beyond the square root of two", lambda e, a, f: (
        e + (2 * np.frexp(a)[0] > 2**0.5))),
    "even-floor": ("never gives an odd exponent", lambda e, a, f: e - e % 2),
    "of-e2m1": ("takes the greatest exponent of E2M1 for every format",
                lambda e, a, f: e + f.max_pow2 - 2),
    "without-greatest-exponent": ("leaves out the greatest exponent of the format",
                                  lambda e, a, f: e + f.max_pow2),
    "negative-zeroed": ("has no scale below one", lambda e, a, f: np.maximum(e, f.max_pow2)),
}  # fmt: skip


def _exponents() -> list[Mutant]:
    return [
        known(f"mx-scale-{name}", text, "BLK-3", SCALE, scale_exponent=_exponent(change))
        for name, (text, change) in EXPONENTS.items()
    ]  # fmt: skip


def _power(change: Any) -> Step:
    def power_scale(p: Mutated, amax: Array, element: Any, rule: str) -> Array:
        codes = p.right.power_scale(amax, element, rule)
        return np.asarray(change(codes, amax)).astype(np.uint8)

    return power_scale


def _real(change: Any) -> Step:
    def unrounded_scale(p: Mutated, amax: Array, source: Array, order: str) -> Array:
        return np.asarray(change(p, amax, source), F32)

    return unrounded_scale


REALS: dict[str, tuple[str, Any]] = {
    "without-tensor": ("leaves out the scale of the tensor", lambda p, a, s: a / F32(6)),
    "inverted-tensor": ("takes the inverse scale of the tensor for the scale",
                        lambda p, a, s: a / F32(6) / p.inverse_tensor_scale(s)),
    "divided-by-4": ("divides by 4", lambda p, a, s: a / F32(4) / p.tensor_scale(s)),
    "divided-by-448": ("divides by 448", lambda p, a, s: a / F32(448) / p.tensor_scale(s)),
    "tensor-without-6": ("divides the tensor's magnitude by 448 alone",
                         lambda p, a, s: a / F32(6) / (s / F32(448))),
    "tensor-by-240": ("divides the tensor's magnitude by 6·240",
                      lambda p, a, s: a / F32(6) / (s / F32(1440))),
    "tensor-twice": ("applies the scale of the tensor twice",
                     lambda p, a, s: a / F32(6) / p.tensor_scale(s) / p.tensor_scale(s)),
    "float16": ("rounds to float16 first", lambda p, a, s: wrong.through(np.float16)(
        np.minimum(a / F32(6) / p.tensor_scale(s), F32(60000)))),
    "bfloat16": ("rounds to bfloat16 first", lambda p, a, s: wrong.through(ml_dtypes.bfloat16)(
        a / F32(6) / p.tensor_scale(s))),
    "power-of-two": ("rounds to a power of two first", lambda p, a, s: np.exp2(np.floor(np.log2(
        np.maximum(a / F32(6) / p.tensor_scale(s), F32(1e-30)))))),
}  # fmt: skip


def _reals() -> list[Mutant]:
    return [
        known(f"nvfp4-scale-{name}", text, "BLK-4", SCALE, pitfall="nvfp4-scale",
              unrounded_scale=_real(change))
        for name, (text, change) in REALS.items()
    ]  # fmt: skip


def _rounded(change: Any) -> Step:
    def rounded_scale(p: Mutated, real: Array, rounding: str) -> Array:
        codes = p.right.rounded_scale(real, rounding)
        return np.asarray(change(codes, real, p)).astype(np.uint8)

    return rounded_scale


def _ties_away(codes: Array, real: Array, p: Mutated) -> Array:
    values = p.right.decode(np.minimum(codes, 126).astype(np.uint8), "float8_ue4m3")
    above = p.right.decode(np.minimum(codes + 1, 126).astype(np.uint8), "float8_ue4m3")
    return codes + ((values < real) & (real - values == above - real))


def _no_clamp(p: Mutated, amax: Array, source: Array, rule: Any) -> Array:
    real = p.unrounded_scale(amax, source, rule.order)
    codes = p.rounded_scale(np.minimum(real, F32(448)), rule.rounding)
    return np.where(real > 464, 127, codes).astype(np.uint8)


BLOCK_SCALES = (
    *_amaxes(),
    *_exponents(),
    *_reals(),
    known("mx-scale-wraps", "keeps the low bits of exponents beyond its ends", "BLK-3", SCALE,
          pitfall="e8m0", clamped_exponent=lambda p, e: (e + 127) % 256 - 127),
    known("mx-scale-from-2-126", "has no scale 2^-127", "BLK-3", SCALE, pitfall="e8m0",
          power_scale=_power(lambda codes, amax: np.where(
              (codes == 0) & (amax > 0), 1, codes))),
    known("mx-scale-nan-is-greatest", "gives 2^127 where a block is not finite", "BLK-3", SCALE,
          pitfall="nan", power_scale=_power(lambda codes, amax: np.where(
              codes == 255, 254, codes))),
    known("mx-scale-nan-is-one", "gives 1 where a block is not finite", "BLK-3", SCALE,
          pitfall="nan", power_scale=_power(lambda codes, amax: np.where(
              codes == 255, 127, codes))),
    known("mx-scale-zero-block-is-nan", "gives NaN for a block of zeros", "BLK-3", SCALE,
          pitfall="zero-block",
          power_scale=_power(lambda codes, amax: np.where(amax == 0, 255, codes))),
    known("mx-scale-zero-block-is-two", "gives 2 for a block of zeros", "BLK-3", SCALE,
          pitfall="zero-block",
          power_scale=_power(lambda codes, amax: np.where(amax == 0, 128, codes))),
    known("mx-scale-bias-126", "takes 126 for the bias", "BLK-3", SCALE,
          power_scale=_power(lambda codes, amax: np.where(codes == 255, 255, codes - 1))),
    known("nvfp4-scale-ties-away", "rounds ties between scales away from zero", "BLK-4", SCALE,
          pitfall="ties", rounded_scale=_rounded(_ties_away)),
    known("nvfp4-scale-nan-lost", "gives the greatest scale where a block has a NaN", "BLK-4",
          SCALE, pitfall="nan",
          rounded_scale=_rounded(lambda codes, real, p: np.minimum(codes, 126))),
    known("nvfp4-scale-subnormals-flushed", "flushes subnormal scales to zero", "BLK-4", SCALE,
          pitfall="subnormals",
          rounded_scale=_rounded(lambda codes, real, p: np.where(codes < 8, 0, codes))),
    known("nvfp4-scale-ends-at-240", "has no scale beyond 240", "BLK-4", SCALE,
          rounded_scale=_rounded(lambda codes, real, p: np.where(
              codes == 127, codes, np.minimum(codes, 119)))),
    known("nvfp4-scale-overflows", "gives NaN for scales beyond 464", "BLK-4", SCALE,
          pitfall="saturation", unsigned_scale=_no_clamp),
    known("nvfp4-scale-off-by-one", "gives the next scale", "BLK-4", SCALE,
          rounded_scale=_rounded(lambda codes, real, p: np.where(
              codes < 126, codes + 1, codes))),
    known("nvfp4-tensor-amax-not-checked", "takes any magnitude of the tensor", "BLK-4", SCALE,
          tensor_scale_source=lambda p, given: np.asarray(
              F32(1) if given is None else given, F32).reshape(())),
)  # fmt: skip
