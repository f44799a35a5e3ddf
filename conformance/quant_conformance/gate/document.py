"""What the gate found, as plain data: the document behind ``check-export``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = "quant-conformance/gate/1"

ORDER = ("exact", "admissible", "unpaired", "undecided", "unlikely", "wrong")
"""Verdicts on a tensor, the better ones first.

"unpaired" is what the file was not shown to have wrong: which of its tensors it is was not found.
"""

FAILING = ("unpaired", "undecided", "unlikely", "wrong", "crashed", "timed_out", "unsupported")
"""Verdicts that do not pass the gate."""


@dataclass(frozen=True)
class Worst:
    """The element of a tensor that is furthest from what is admissible.

    Attributes:
        index: where it is.
        value: what exact arithmetic gives there.
        got: the code (for a float result, the value) in the export.
        low: least admissible code or value.
        high: greatest.
        likely_low: least under the probabilistic bound.
        likely_high: greatest.
        prepared: what the prepared model has there.
    """

    index: list[int]
    value: float
    got: float
    low: float
    high: float
    likely_low: float
    likely_high: float
    prepared: float


@dataclass
class Layer:
    """The verdict on one tensor.

    Attributes:
        name: the tensor, as the quantizer calls it.
        operation: what computes it.
        clauses: clauses of SPEC.md that it is held to.
        verdict: one of ``ORDER``, or "unsupported".
        dtype: its format.
        elements: how many it has.
        single: share of elements with exactly one admissible code.
        flipped: share of codes unlike the prepared model's.
        sqnr: of the dequantized values against the prepared model's, in dB; None if they are equal.
        wrong: elements outside the rigorous bound.
        unlikely: elements between the two bounds.
        undecided: elements for which every code is admissible.
        code_errors: code minus the prepared model's -> elements.
        ulp_errors: for float results, the distance in units in the last place -> elements.
        worst: the worst element, or None where all are admissible.
        detail: what is wrong, for people.
        repro: folder of the saved reproduction, or None.
    """

    name: str
    operation: str
    clauses: list[str]
    verdict: str
    dtype: str = ""
    elements: int = 0
    single: float | None = None
    flipped: float = 0.0
    sqnr: float | None = None
    wrong: int = 0
    unlikely: int = 0
    undecided: int = 0
    code_errors: dict[str, int] = field(default_factory=dict)
    ulp_errors: dict[str, int] | None = None
    worst: Worst | None = None
    detail: str = ""
    repro: str | None = None


@dataclass(frozen=True)
class Weight:
    """The verdict on one weight in the file.

    Attributes:
        name: its name in the model.
        verdict: "exact", "unpaired" or "wrong".
        dtype: its format.
        granularity: which elements share qparams.
        clauses: clauses of SPEC.md that it is held to.
        detail: what is wrong, for people.
    """

    name: str
    verdict: str
    dtype: str
    granularity: str
    clauses: list[str]
    detail: str = ""


@dataclass(frozen=True)
class EndToEnd:
    """The whole model beside the prepared one; for information, it decides nothing.

    Attributes:
        sqnr: of the outputs, in dB; None if they are equal.
        flipped: share of all codes unlike the prepared model's.
        top1: share of rows with the same greatest output, or None where that means nothing.
        outputs: number of outputs.
        detail: for people.
    """

    sqnr: float | None
    flipped: float
    top1: float | None
    outputs: int
    detail: str = ""


@dataclass(frozen=True)
class InFloat:
    """A parameter of a matrix product, a convolution or an embedding that is not quantized.

    Attributes:
        name: its name in the model.
        operation: what reads it.
        parameters: how many numbers it has.
        reason: why, or empty where that is not known.
    """

    name: str
    operation: str
    parameters: int
    reason: str


@dataclass(frozen=True)
class Shares:
    """What of a model is quantized, counted over products, convolutions and embeddings.

    Attributes:
        parameters: numbers in their weights.
        quantized_parameters: those that are quantized.
        multiply_adds: of one forward pass.
        quantized_multiply_adds: those of which both factors are quantized.
        in_float: the weights that are not, the largest first.
        wanted: least share of the parameters with which the model passes, or None.
    """

    parameters: int
    quantized_parameters: int
    multiply_adds: int
    quantized_multiply_adds: int
    in_float: list[InFloat]
    wanted: float | None = None

    @property
    def too_small(self) -> bool:
        """Whether fewer parameters are quantized than wanted."""
        return self.wanted is not None and (
            self.quantized_parameters < self.wanted * self.parameters
        )


@dataclass
class GateDocument:
    """What ``check-export`` found.

    Attributes:
        model: what was judged.
        config: how it was quantized.
        mode: "graph" or "eager"; "prepared" where the model was prepared elsewhere.
        backend: "coreai" or "coreml".
        cast_16bit: whether the program computes in 16 bits.
        versions: distribution -> version.
        facts: "cpu", "commit" and "command".
        layers: the tensors in the order of computation.
        weights: the quantized weights.
        end_to_end: the whole model, or None.
        shares: what of the model is quantized, or None where it could not be counted.
        failure: verdict of the whole where no tensor could be judged ("crashed", …), else None.
        detail: why.
    """

    model: str
    config: str
    mode: str
    backend: str
    cast_16bit: bool
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str | None] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    end_to_end: EndToEnd | None = None
    shares: Shares | None = None
    failure: str | None = None
    detail: str = ""

    @property
    def verdict(self) -> str:
        """The worst verdict on anything; where nothing was judged, "unsupported"."""
        if self.failure is not None:
            return self.failure
        found = [layer.verdict for layer in self.layers] + [w.verdict for w in self.weights]
        if "unsupported" in found and "wrong" not in found:
            return "unsupported"
        return max(found, key=lambda v: ORDER.index(v) if v in ORDER else -1, default="unsupported")

    @property
    def unpaired(self) -> int:
        """How many tensors and weights were not found, without anything shown to be wrong."""
        found = [layer.verdict for layer in self.layers] + [w.verdict for w in self.weights]
        return found.count("unpaired")

    @property
    def failed(self) -> bool:
        """Whether it does not pass."""
        too_small = self.shares is not None and self.shares.too_small
        return self.verdict in FAILING or too_small

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the schema's name first."""
        body = asdict(self)
        failure = body.pop("failure")
        if failure is None and not body["detail"]:
            del body["detail"]
        return {"schema": SCHEMA, "verdict": self.verdict, "unpaired": self.unpaired, **body}
