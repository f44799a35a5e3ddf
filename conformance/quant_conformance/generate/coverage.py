"""The broad coverage: every legal kind of spec, granularity and dtype, pairwise with layouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from quant_conformance.generate.covering import Row, cover_pairs
from quant_conformance.generate.floats import DTYPES
from quant_conformance.generate.layouts import (
    LAYOUTS,
    Layout,
    granularity_clause,
    make_spec,
    spec_rows,
)
from quant_reference import QuantizationSpec


@dataclass(frozen=True)
class Combination:
    """One row of the coverage.

    Attributes:
        name: Readable and unique in its family.
        label: Stream that the row's data are drawn from.
        spec: With its granularity.
        granularity_kind: ``per_tensor``, ``per_channel`` or ``per_block``.
        layout: Target and shape.
        dtype: dtype of the tensor.
        clause: The clause that shapes the blocks.
        full: Whether the row is left to the full tier.
    """

    name: str
    label: str
    spec: QuantizationSpec
    granularity_kind: str
    layout: Layout
    dtype: str
    clause: str
    full: bool


def coverage_rows(density: str) -> list[Row]:
    """Return the rows of one family, each kind of spec with each granularity at least once.

    Args:
        density: ``"full"``, with each dtype too and all pairs with the layout; ``"once"``, each
            row once, with the layout and dtype that bring most new pairs.
    """
    factors = {"layout": list(LAYOUTS), "dtype": list(DTYPES)}
    if density != "full":
        return cover_pairs(spec_rows(), factors, complete=False)
    rows = [{**row, "dtype": dtype} for row in spec_rows() for dtype in DTYPES]
    return cover_pairs(rows, {"layout": factors["layout"]})


def coverage(family: str, density: str) -> Iterator[Combination]:
    """Yield the combinations for one family; each family has its own data and variants."""
    used: Counter[tuple[str, str]] = Counter()
    for index, row in enumerate(coverage_rows(density)):
        layout = LAYOUTS[row["layout"]]
        place = (row["layout"], row["granularity"])
        granularity = layout.granularity(row["granularity"], used[place])
        used[place] += 1
        name = f"{row['spec']}-{row['granularity']}-{row['layout']}-{row['dtype']}"
        kind = row["granularity"]
        clause = {"per_tensor": "GRAN-1", "per_channel": "GRAN-2"}.get(kind, "")
        if not clause:
            tuple_sized = isinstance(granularity.to_dict()["block_size"], list)
            clause = "GRAN-5" if tuple_sized else granularity_clause(layout.target)
        yield Combination(
            name=name,
            label=f"{family}/cover/{name}",
            spec=make_spec(row["spec"], granularity),
            granularity_kind=kind,
            layout=layout,
            dtype=row["dtype"],
            clause=clause,
            # The quick tier keeps one row in three; each kind of spec is still there.
            full=density != "once" and (index + index // 3) % 3 != 0,
        )
