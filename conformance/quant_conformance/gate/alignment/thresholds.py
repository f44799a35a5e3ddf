"""The thresholds that decide which tensor of a file is which of the prepared model's.

All of them, in one table, each with its reason. They decide which tensor is named, and whether what
is off is told as one mistake or as another; no verdict passes by any of them, whatever they are: a
tensor passes because its own region, on the operands that it should get, gives what is admissible.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def _within(default: float, least: float, greatest: float, reason: str) -> Any:
    metadata = {"least": least, "greatest": greatest, "reason": reason}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Thresholds:
    """See the reason of each; differences are relative to both norms, from 0 to 1."""

    far: float = _within(
        0.5, 0.02, 0.99,
        "Difference above which two quantized tensors are not the same one: a wrong layer may "
        "change much of a tensor, unrelated ones are about 0.7 apart.",
    )  # fmt: skip
    far_float: float = _within(
        0.02, 1e-6, 0.5,
        "The same for float results, which differ by roundings only, with what flipped codes "
        "before them add.",
    )  # fmt: skip
    near_float: float = _within(
        1.5, 1.0, 3.0,
        "Float results of a file whose differences from one of the model are within this factor of "
        "the least differ from it by roundings alike; then single elements tell, as those that a "
        "relu behind a tensor took away.",
    )  # fmt: skip
    own_size: float = _within(
        2.0**-6, 2.0**-9, 0.5,
        "Share of its own size by which an element differs that such a result is not known by: "
        "more than roundings to float16 change one.",
    )  # fmt: skip
    rescaled: float = _within(
        0.1, 0.0, 0.9,
        "What it costs that two tensors agree only up to a factor, as where a converter moves a "
        "scale: less than another tensor, more than roundings.",
    )  # fmt: skip
    order: float = _within(
        0.05, 0.0, 0.5,
        "Weight of the order: where values agree, the earlier belongs to the earlier.",
    )  # fmt: skip
    spare: float = _within(
        0.02, 0.0, 0.5,
        "What it costs to find a tensor that a file may leave out: less than any real difference, "
        "so that it only decides between equal ones.",
    )  # fmt: skip
    apart: float = _within(
        0.3, 0.0, 0.9,
        "What unlike qparams cost where qparams are what tensors are known by: with it a pair of "
        "unlike qparams still stands where nothing else is near.",
    )  # fmt: skip
    by_both: float = _within(
        0.5, 0.0, 1.0,
        "How much of a difference in values counts between tensors of like qparams, where both "
        "count alike: a wrong layer changes values, a wrong quantizer qparams.",
    )  # fmt: skip
    by_qparams: float = _within(
        0.1, 0.0, 1.0, "The same where qparams are trusted more than values."
    )
    like: float = _within(
        2.0**-10, 0.0, 1.0,
        "Scales whose ratio is this close to 1 are alike: rounded to float16 they may be that far "
        "off.",
    )  # fmt: skip
    weight_order: float = _within(
        2.0**-30, 0.0, 0.1,
        "Weight of the order between constants, only where values do not tell which is which.",
    )  # fmt: skip
    clean: float = _within(
        0.05, 0.0, 0.9,
        "Difference of two quantized tensors that codes flipped by roundings stay below.",
    )  # fmt: skip
    noise: float = _within(
        0.02, 0.0, 10.0,
        "What roundings may add to the mistakes of the outputs, which count by how far off they "
        "are.",
    )  # fmt: skip
    nearer: float = _within(
        0.99, 0.1, 1.0,
        "Share of what is off that may be left behind a mistake that is told beside others: a "
        "second mistake is told only if it explains something.",
    )  # fmt: skip
    rounds: int = _within(6, 1, 12, "Runs after which what still changes is taken as it is.")
    trials: int = _within(
        8, 0, 16, "Values of a file that are tried as the one that a mistake hides."
    )
    same: float = _within(
        2.0**-16, 0.0, 1.0,
        "How far apart outputs of a whole run may be by roundings alone, in 32 bits: below it the "
        "file is right as a whole, and what failed may be its reading.",
    )  # fmt: skip
    same_half: float = _within(2.0**-8, 0.0, 1.0, "The same in 16 bits.")


THRESHOLDS = Thresholds()
"""Those that verdicts are made with."""


def ranges() -> dict[str, tuple[float, float]]:
    """Each threshold's range: inside of it no wrong file passes, which the tests try."""
    return {f.name: (f.metadata["least"], f.metadata["greatest"]) for f in fields(Thresholds)}
