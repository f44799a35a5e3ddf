"""lifecycle: switches, qparams and outputs from prepare to finalize (LIFE-1 to LIFE-7, BN-3, BN-4).

Layers have one input, so that an output is one product, which every kernel rounds alike; those with
a batch norm in training compute on numbers that every step has exactly.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.floats import f32
from quant_conformance.generate.layouts import make_spec

Array = NDArray[Any]
Event = list[Any]

_BATCHES = (f32(1.0, -3.0, 0.3), f32(10.0, 2.0, -0.7), f32(-0.2, 0.1, 4.6), f32(0.6, 7.3, -6.1))
_WEIGHTS = (f32(1.0, -0.77), f32(2.5, 0.31), f32(-0.4, 6.2))

READ: Event = ["read"]


def _run(*numbers: int) -> list[Event]:
    return [["forward", number] for number in numbers]


_SCENARIOS: dict[str, tuple[str, list[Event], str]] = {
    "prepared": ("LIFE-1 LIFE-2", [["prepare", 0], READ, *_run(1, 0), READ], "after prepare"),
    "weight-changed": (
        "LIFE-2",
        [["prepare", 0], ["weight", 1], *_run(0, 1), READ, ["weight", 2], *_run(2), READ],
        "the weight changes outside of training",
    ),
    "training": (
        "LIFE-4 LIFE-2",
        [["prepare", 0], ["training"], READ, *_run(1), READ, ["weight", 1], *_run(2), READ,
         ["leave"], READ, ["weight", 2], *_run(1, 3), READ],
        "two batches in training, the weight changes between them and after",
    ),
    "training-fails": (
        "LIFE-4",
        [["prepare", 1], ["training"], *_run(2), ["fail"], READ, *_run(0, 3), READ],
        "an exception ends training",
    ),
    "training-twice": (
        "LIFE-5 LIFE-4",
        [["prepare", 0], ["training"], *_run(1), ["leave"], *_run(3), ["training"], *_run(2),
         READ, ["leave"], READ, *_run(0)],
        "training goes on where it was",
    ),
    "training-refuses": (
        "LIFE-5",
        [["prepare", 0], ["training"], *_run(1), ["refused"], READ, *_run(2), ["leave"], READ,
         *_run(1)],
        "calibration inside training",
    ),
}  # fmt: skip

_CALIBRATIONS: dict[str, tuple[str, list[Event], str]] = {
    "calibration": (
        "LIFE-3 LIFE-2",
        [["prepare", 0], ["calibration"], READ, *_run(1), READ, *_run(2), READ, ["leave"], READ,
         *_run(1, 3), READ],
        "two batches",
    ),
    "calibration-fails": (
        "LIFE-3",
        [["prepare", 0], ["calibration"], *_run(1), ["fail"], READ, *_run(2), READ],
        "an exception ends calibration",
    ),
    "calibration-twice": (
        "LIFE-5 LIFE-3",
        [["prepare", 0], ["calibration"], *_run(1), ["leave"], *_run(3), ["calibration"],
         *_run(2), READ, ["leave"], READ, *_run(0)],
        "ranges go on where they were",
    ),
    "calibration-refuses": (
        "LIFE-5",
        [["prepare", 0], ["calibration"], *_run(1), ["refused"], READ, *_run(2), ["leave"],
         ["refused"], READ],
        "calibration inside calibration; outside of it nothing is refused",
    ),
    "calibration-then-training": (
        "LIFE-5 LIFE-3 LIFE-4",
        [["prepare", 2], ["calibration"], *_run(1), ["leave"], ["training"], *_run(3), READ,
         ["leave"], *_run(0), ["calibration"], *_run(2), ["leave"], READ, *_run(0)],
        "modes one after the other",
    ),
}  # fmt: skip

_ACTIVATIONS = ("int8-sym-zp", "uint8-asym-zp", "int4-clip-zp", "uint4-asym-minval")
_KINDS = ("default", "global_minmax", "static")


def build(builder: Builder) -> None:
    """Add the family."""
    for index, (name, (clauses, events, comment)) in enumerate(_SCENARIOS.items()):
        for variant in range(3):
            activation = _ACTIVATIONS[(index + variant) % 4]
            specs = _specs(activation, _KINDS[variant], "int4-sym-zp" if variant else "int8-sym-zp")
            _add(builder, f"{name}-{_KINDS[variant]}", clauses, specs, events, comment)
    for index, (name, (clauses, events, comment)) in enumerate(_CALIBRATIONS.items()):
        for variant in range(3):
            activation, kind = _ACTIVATIONS[(index + variant) % 4], _KINDS[variant]
            specs = _specs(activation, kind, None)
            _add(builder, f"{name}-{kind}", clauses, specs, events, comment)
        specs = _specs(_ACTIVATIONS[index % 4], "default", "int4-sym-zp")
        policy = "calibration_weights"
        _add(builder, f"{name}-weights", clauses, specs, events, comment, policy=policy)
    _single_elements(builder)
    _schedules(builder)
    _finalized(builder)
    _batch_norms(builder)


def _single_elements(builder: Builder) -> None:
    """Tensors of rank 2 with one element, which are no single numbers."""
    start: list[Event] = [["prepare", 0], *_run(1, 0)]
    calibrated = [*start, ["calibration"], *_run(2), ["leave"], *_run(1)]
    for name in ("weight", "input", "output"):
        _add(
            builder,
            f"one-element-{name}",
            "FQ-1 LIFE-1" if name == "weight" else "FQ-1 LIFE-1 LIFE-3",
            {name: make_spec("int8-sym-zp").to_dict()},
            start if name == "weight" else calibrated,
            f"one quantizer, of the {name}",
            batches=(f32(127.0), f32(-200.3), f32(240.0)),
            weights=(f32(1.0) if name != "weight" else f32(0.7),),
        )


def _specs(activation: str, kind: str, weight: str | None) -> dict[str, Any]:
    spec = make_spec(activation, qparam_calculator_cls=kind).to_dict()
    specs = {"input": spec, "output": spec}
    return specs if weight is None else {"weight": make_spec(weight).to_dict(), **specs}


def _schedules(builder: Builder) -> None:
    step: Event = ["step"]
    begin: list[Event] = [["prepare", 0], ["training"]]
    events = [*begin, READ]
    for batch in (1, 2, 3, 0):
        events += [*_run(batch), step, READ]
    events += [["leave"], READ, *_run(1)]
    twice = [*begin, *_run(1), step, READ, ["leave"], READ, *_run(1), ["training"], READ, *_run(2),
             step, READ, *_run(3), step, READ, ["leave"], READ, *_run(0)]  # fmt: skip
    for name, schedule in (
        ("0-0", (0, 0, None)),
        ("1-2", (1, 2, None)),
        ("0-1-3", (0, 1, 3)),
        ("1-1-2", (1, 1, 2)),
    ):
        for word, life in (("once", events), ("twice", twice)):
            _add(
                builder,
                f"schedule-{name}-{word}",
                "LIFE-6",
                _specs("uint8-asym-zp", "default", "int4-sym-zp"),
                life,
                f"enable_observer, enable_fake_quant, disable_observer {schedule}",
                schedule=list(schedule),
            )


def _finalized(builder: Builder) -> None:
    events: list[Event] = [
              ["prepare", 0], ["training"], *_run(1), ["leave"], READ, *_run(0, 2), ["finalize"],
              *_run(0, 2, 3)]  # fmt: skip
    kinds = (
        "int8-sym-zp",
        "int8-clip-minval",
        "uint8-asym-zp",
        "uint8-asym-minval",
        "float8_e4m3fn-scale32",
        "float8_e5m2-scale32",
        "int4-sym-zp",
        "uint4-asym-zp",
        "int2-sym-zp",
    )
    for kind in kinds:
        spec = make_spec(kind).to_dict()
        for word, specs in (
            ("weight", {"weight": spec}),
            ("activations", {"weight": make_spec("int8-sym-zp").to_dict(), "input": spec,
                             "output": spec}),
        ):  # fmt: skip
            _add(
                builder,
                f"finalized-{word}-{kind}",
                "LIFE-7",
                specs,
                events,
                f"{word} of {kind} before and after finalize",
            )


def _batch_norms(builder: Builder) -> None:
    """Roots of 16 and 64, factors 1 and 2: every step of a training batch is exact."""
    weight = make_spec("int8-clip-zp", float_range=(-127.0, 127.0)).to_dict()
    norm = {
        "mean": f32(1.0, -2.0),
        "variance": f32(1.0, 49.0),
        "gamma": f32(4.0, 16.0),
        "beta": f32(0.5, -1.0),
    }
    batches = (f32(1.0, 3.0), f32(-2.0, 0.0), f32(5.0, -4.0))
    weights = (f32(1.0, 7.2), f32(7.0, 1.0))
    exact = (f32(1.0, 7.0), f32(7.0, 1.0))  # 7.2 becomes 7 when it is quantized
    trained = [["prepare", 0], READ, *_run(0), ["training"], *_run(1), READ]
    lives: dict[str, tuple[str, list[Event], str]] = {
        "evaluation": (
            "BN-2", [["prepare", 0], *_run(0, 1), ["weight", 1], *_run(2), READ], "folded"),
        "training": ("BN-3 LIFE-4", [*trained, ["leave"], READ, *_run(0, 2)], "one batch"),
        "weight-after-training": (
            "BN-3", [*trained, ["leave"], ["weight", 1], *_run(0, 2), READ], "then another weight"),
        "frozen": (
            "BN-4",
            [["prepare", 0], ["freeze"], ["training"], *_run(1, 2), READ, ["weight", 1], *_run(0),
             ["leave"], READ, *_run(1)],
            "frozen from the start",
        ),
        "frozen-after-a-batch": (
            "BN-4 BN-3",
            [*trained, ["freeze"], *_run(0, 2), READ, ["leave"], READ, *_run(1)],
            "frozen after one batch",
        ),
    }  # fmt: skip
    for name, (clauses, events, comment) in lives.items():
        for word, changes in (
            ("plain", {}),
            ("bias", {"bias": f32(2.0, -3.0)}),
            ("zero-gamma", {"gamma": f32(0.0, 16.0), "bias": f32(0.0, 1.0)}),
        ):
            for quantized, specs in (("", {"weight": weight}), ("-float", {})):
                if word == "bias" and quantized:
                    continue
                _add(
                    builder,
                    f"batch-norm-{name}-{word}{quantized}",
                    clauses,
                    dict(specs),
                    events,
                    f"a batch norm, {comment}",
                    batches=batches,
                    weights=weights if specs else exact,
                    tensors={**norm, **changes},
                    eps=15.0,
                    momentum=0.5,
                )


def _add(
    builder: Builder,
    case: str,
    clauses: str,
    specs: dict[str, Any],
    events: list[Event],
    comment: str,
    *,
    batches: tuple[Array, ...] = _BATCHES,
    weights: tuple[Array, ...] = _WEIGHTS,
    tensors: dict[str, Array] | None = None,
    policy: str | None = None,
    **arguments: Any,
) -> None:
    used = {event[1] for event in events if event[0] in ("prepare", "forward")}
    changed = {event[1] for event in events if event[0] == "weight"}
    inputs = {f"batch_{i}": batches[i].reshape(-1, 1) for i in range(max(used) + 1)}
    inputs |= {f"weight_{i}": weights[i].reshape(-1, 1) for i in range(max(changed, default=0) + 1)}
    builder.add(
        f"lifecycle/{case}",
        "lifecycle",
        clauses=clauses,
        flags=("BatchNormTraining",) if tensors else ("Lifecycle",),
        comment=comment,
        arguments={"specs": specs, "events": events, **arguments},
        inputs={**inputs, **(tensors or {})},
        policy=policy,
    )
