"""Quantizers in the wrong place, too many, too few, or with the wrong spec."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from quant_conformance.mutants.model import Mutant, known
from quant_conformance.placement import Placed

PLACEMENT = ("placement",)

_ACTIVATIONS = ("relu", "gelu", "silu", "sigmoid", "tanh", "hard", "leaky")
_POOLS = ("max_pool", "avg_pool", "adaptive", "mean", "flatten", "cat")
_SHAPE_ONLY = ("reshape", "permute", "transpose", "dropout", "squeeze")
_LATER_CALL = re.compile(r".+\.\w+_\d+ (input|output) ")
_FACTORS = ("wide.weight", "projection", "experts", "mixing")
_PLAIN = {"dtype": "int8", "qscheme": "symmetric", "granularity": {"type": "per_tensor"}}


def _graph(change: Callable[[list[Placed]], list[Placed]]) -> Callable[..., list[Placed]]:
    return lambda self, placed, mode: change(placed) if mode == "graph" else placed


def _each(change: Callable[[Placed], Placed]) -> Callable[..., list[Placed]]:
    return _graph(lambda placed: [change(p) for p in placed])


def _without(*beginnings: str) -> Callable[..., list[Placed]]:
    return _graph(lambda placed: [p for p in placed if not p[0].startswith(beginnings)])


def _apart(*beginnings: str) -> Callable[..., list[Placed]]:
    return _each(lambda p: (*p[:3], p[0]) if p[0].startswith(beginnings) else p)


def _respec(**members: Any) -> Callable[[Placed], Placed]:
    return lambda p: (p[0], {**p[1], **members}, *p[2:])


def _at_axis(p: Placed, shift: int) -> Placed:
    """A factor of a product with its axis moved."""
    granularity = p[1]["granularity"]
    moved = {**granularity, "axis": (granularity.get("axis") or 0) + shift}
    return _respec(granularity=moved)(p) if p[0] in _FACTORS else p


def _with_inner(*beginnings: str) -> Callable[..., list[Placed]]:
    """One more quantizer in front of the last operation of some region."""

    def change(placed: list[Placed]) -> list[Placed]:
        found = any(p[0].startswith(beginnings) for p in placed)
        inner: Placed = ("inner", _PLAIN, "activation", "inner")
        return [*placed, inner] if found else placed

    return _graph(change)


def _first_shared_range(placed: list[Placed]) -> list[Placed]:
    bounds = {p[0]: p[1]["float_range"] for p in placed}
    shared = {p[3] for p in placed if p[3] != p[0]}
    known_one = [0.0, None]
    return [
        _respec(qscheme="asymmetric", float_range=known_one)(p)
        if p[3] in shared and bounds[p[3]] == [None, None] and p[3].startswith(_ACTIVATIONS)
        else p
        for p in placed
    ]


def _with_positions(graph: str, eager: str) -> Callable[..., list[Placed]]:
    """One more quantizer in the model of positions, whose embedding is called so."""

    def placed(self: object, placed: list[Placed], mode: str) -> list[Placed]:
        name = graph if mode == "graph" else eager
        more = [(name, _PLAIN, "activation", name)]
        return [*placed, *(more if any(p[0] == "nearness.weight" for p in placed) else [])]

    return placed


PLACEMENTS: tuple[Mutant, ...] = (
    known("quantizer-before-activation", "quantizes between a layer and its activation",
          "PLACE-1 PLACE-2", PLACEMENT, placed=_with_inner(*_ACTIVATIONS)),
    known("quantizer-before-batch-norm", "quantizes between a layer and its batch norm",
          "PLACE-2 BN-5", PLACEMENT, placed=_with_inner("batch_norm")),
    known("einsum-forgotten", "knows no einsum", "PLACE-2", PLACEMENT, placed=_without("einsum")),
    known("inputs-forgotten", "quantizes outputs only", "PLACE-4", PLACEMENT,
          placed=_without("x", "a", "b")),
    known("weights-per-tensor", "quantizes weights per tensor", "PLACE-5", PLACEMENT,
          placed=_each(lambda p: _respec(granularity={"type": "per_tensor"})(p)
                       if p[0].endswith("weight") else p)),
    known("tied-weight-twice", "quantizes a weight once for each reader", "PLACE-5", PLACEMENT,
          placed=_graph(lambda placed: [
              *placed, *(("classify.weight", *p[1:3], "classify.weight") for p in placed
                         if p[0] == "embed.weight" and len(placed) == 6)])),
    known("weight-piece-forgotten", "leaves pieces of a larger weight in float", "PLACE-5",
          PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if not p[0].startswith("getitem") and " input weight" not in p[0]]),
    known("bias-piece-quantized", "takes a piece of a bias for an activation", "PLACE-5",
          PLACEMENT, placed=_graph(lambda placed: [
              *placed, *(("getitem_2", _PLAIN, "activation", "getitem_2") for p in placed
                         if p[0] == "getitem")])),
    known("pools-apart", "gives a pool's output qparams of its own", "PLACE-6", PLACEMENT,
          placed=_apart(*_POOLS)),
    known("concat-apart", "gives a concatenation's output qparams of its own", "PLACE-6",
          PLACEMENT, placed=_apart("cat")),
    known("pool-divisor-ignored", "takes every average pool for one that keeps its range",
          "PLACE-6 PLACE-8", PLACEMENT, placed=_graph(lambda placed: [
              (p[0], p[1], p[2], "relu6") if p[0] == "avg_pool2d" else p for p in placed])),
    known("pool-dilation-ignored", "takes every max pool for one that keeps its range", "PLACE-6",
          PLACEMENT, placed=_graph(lambda placed: [
              (p[0], p[1], p[2], "avg_pool2d")
              if p[0] == "max_pool2d" and any(q[0] == "avg_pool2d" for q in placed) else p
              for p in placed])),
    known("pool-sign-kept", "pins a pool that can give -inf to the sign of its input", "PLACE-8",
          PLACEMENT, placed=_each(
              lambda p: _respec(qscheme="asymmetric", float_range=[0.0, None])(p)
              if p[0] == "max_pool2d" == p[3] else p)),
    known("shape-only-forgotten", "does not quantize behind reshape and transpose", "PLACE-7",
          PLACEMENT, placed=_without(*_SHAPE_ONLY)),
    known("shape-only-apart", "gives reshape and transpose qparams of their own", "PLACE-7",
          PLACEMENT, placed=_apart(*_SHAPE_ONLY)),
    known("known-bounds-lost", "observes the range of relu6", "PLACE-8", PLACEMENT,
          placed=_each(_respec(float_range=[None, None]))),
    known("known-bounds-pinned", "pins sigmoid to [0, 1] and tanh to [-1, 1]", "PLACE-8",
          PLACEMENT, placed=_each(
              lambda p: _respec(float_range=[0.0 if p[0][0] == "s" else -1.0, 1.0])(p)
              if p[0] in ("sigmoid", "tanh") and p[0] == p[3] else p)),
    known("known-scheme-lost", "quantizes relu symmetrically", "PLACE-8", PLACEMENT,
          placed=_each(_respec(qscheme="symmetric"))),
    known("range-of-one-for-all", "pins a shared set to the range of one of its tensors",
          "PLACE-8", PLACEMENT, placed=_graph(_first_shared_range)),
    known("global-config-wins", "lets the global config decide over a module's", "PLACE-3 PLACE-9",
          PLACEMENT, placed=_each(_respec(dtype="int8"))),
    known("last-wish-wins", "gives a shared weight the spec of its last reader", "PLACE-9",
          PLACEMENT, placed=lambda self, placed, mode: [
              _respec(dtype="int8")(p) if p[0] == "l1.weight" else p for p in placed]),
    known("one-name-for-a-state", "looks for a shared weight under its first name only",
          "PLACE-10 PLACE-5", PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if [q[0] for q in placed] != ["l1.weight"]]),
    known("outer-module-wins", "lets the outermost module decide about a common input or output",
          "PLACE-9 PLACE-10", PLACEMENT, placed=lambda self, placed, mode: [
              (p[0], _PLAIN, *p[2:]) if len(placed) == 2 and p[1]["dtype"] == "uint8" else p
              for p in placed]),
    known("boundary-ignored", "does nothing at the boundary of a module", "PLACE-10", PLACEMENT,
          placed=_graph(lambda placed: placed if len(placed) > 2 else [])),
    known("eager-shares", "quantizes a tensor once for all its readers in eager mode", "PLACE-11",
          PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if mode == "graph" or " input " not in p[0]]),
    known("eager-calls-merged", "gives all calls of a layer one set of quantizers in eager mode",
          "PLACE-11", PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if mode == "graph" or not _LATER_CALL.match(p[0])]),
    known("product-weights-forgotten", "leaves parameters of matrix products in float", "PLACE-13",
          PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if p[0] not in _FACTORS]),
    known("product-of-linear-only", "quantizes addmm, mm, bmm and baddbmm nowhere",
          "PLACE-13 PLACE-2", PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if p[0] not in ("bmm", "baddbmm", "mm")
              and not re.search(r"(^|\.)(add|b|baddb)?mm (in|out)put ", p[0])]),
    known("product-axis-of-linear", "takes a weight of (in, out) for one of (out, in)",
          "GRAN-7 PLACE-13", PLACEMENT, placed=lambda self, placed, mode: [
              _at_axis(p, -1 if p[1]["granularity"]["type"] == "per_channel" else 1)
              if p[0] in ("wide.weight", "projection") else p for p in placed]),
    known("product-axis-of-right", "takes a left factor for a right one", "GRAN-7 PLACE-13",
          PLACEMENT, placed=lambda self, placed, mode: [
              _at_axis(p, 1 if p[1]["granularity"]["type"] == "per_channel" else -1)
              if p[0] == "mixing" else p for p in placed]),
    known("norm-weight-at-axis-0", "gives the weight of a norm the axis 0", "GRAN-7 PLACE-5",
          PLACEMENT, placed=lambda self, placed, mode: [
              *placed, *(("gain.weight", *p[1:3], "gain.weight") for p in placed
                         if p[0] == "mixing")]),
    known("addend-quantized", "quantizes what a product adds as its bias", "PLACE-13", PLACEMENT,
          placed=lambda self, placed, mode: [
              *placed, *(("shift", *p[1:3], "shift") for p in placed if p[0] == "experts")]),
    known("recurrent-weights-forgotten", "leaves the weights of recurrent layers in float",
          "PLACE-13", PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if ".weight_" not in p[0]]),
    known("recurrent-step-forgotten", "knows recurrent layers, and no single steps", "PLACE-13",
          PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if not p[0].startswith("step.weight_")]),
    known("positions-quantized", "quantizes what is computed from integers and buffers alone",
          "PLACE-14", PLACEMENT, placed=_with_positions("mul", "mul output 0")),
    known("mask-quantized", "quantizes scores that a mask is added to", "PLACE-14", PLACEMENT,
          placed=_with_positions("add_3", "add_3 output 0")),
    known("index-quantized", "quantizes what becomes an index", "PLACE-14", PLACEMENT,
          placed=_with_positions("mul_3", "mul_3 output 0")),
    known("nothing-before-an-index", "quantizes nothing that an index comes from", "PLACE-14",
          PLACEMENT, placed=lambda self, placed, mode: [
              p for p in placed if p[0] not in ("exp", "mul_3 input input")]),
    known("names-of-its-own", "names tensors as it likes", "PLACE-12", PLACEMENT,
          placed=lambda self, placed, mode: [(f"%{p[0]}", *p[1:3], f"%{p[3]}") for p in placed]),
)  # fmt: skip
