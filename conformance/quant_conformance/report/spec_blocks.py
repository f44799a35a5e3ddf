"""The parts of SPEC.md that are generated: the operations of ADM-1 and the table of policies.

``python -m quant_conformance.report.spec_blocks`` writes them between their markers; it asks every
backend that is installed for the policies that it follows, and with ``--operations`` none. A test
holds the text to what the code has, but for who follows a policy, which needs every backend.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from quant_conformance.registry import BACKENDS
from quant_conformance.rule_questions import is_told
from quant_conformance.runner.questions import Limits
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.verdicts.clauses import spec_clauses
from quant_reference import block as blocks
from quant_reference import integer
from quant_reference.admissible import OPERATIONS
from quant_vectors import load_frozen

HIDDEN: Final = ("arithmetic", "axes", "online")
"""Parameters that are no attribute of an operation."""

OTHER_POLICIES: Final[Mapping[str, tuple[str, ...]]] = {
    "known_ranges": ("reached", "pinned", "scheme_only", "fixed_uint8"),
    "accumulator_overflow": ("refuse", "wrap", "saturate"),
    "bias_rounding": ("float64_away", "float32_even"),
    "multiplier_order": tuple(integer.MULTIPLIER_ORDERS),
    "requantization": tuple(integer.RULES),
    "mx_scale": tuple(blocks.MX_RULES),
    "nvfp4_scale": tuple(blocks.rules.ORDERS),
    "block_quotient": tuple(blocks.QUOTIENT_RULES),
    "block_product": tuple(blocks.PRODUCT_RULES),
    "block_dot": tuple(blocks.DOT_RULES),
}
"""Policies that no case names one choice of alone: the choices, the reference's first."""

WITHOUT_REFERENCE: Final = ("multiplier_order",)
"""Policies whose choice is a part of another one's."""

SOURCES: Final[Mapping[str, str]] = {
    "overflow": "the saturating and the non-saturating conversion of OCP 8-bit floating point; "
    "ONNX Cast, `saturate` 1 and 0",
    "nan_in_e2m1": "OCP Microscaling v1.0 leaves it to the implementation",
    "nan_payload": "IEEE 754 leaves payloads to the implementation",
    "nan_to_integer": "IEEE 754 leaves the conversion of a NaN to the implementation",
    "e8m0_nonfinite_range": "OCP Microscaling v1.0 leaves it to the implementation",
    "zero_gradient_sign": "a mask that selects, and one that multiplies",
    "calibration_weights": "a calibration that changes nothing, and one with quantized weights",
    "known_ranges": "[docs/placement.md](../../docs/placement.md)",
    "accumulator_overflow": "two's complement, and saturating accumulators",
    "bias_rounding": "the converter of TFLite; the quantizer of onnxruntime",
    "multiplier_order": "the table of INT-3",
    "requantization": "the tables of INT-5, INT-6 and INT-7",
    "nan_in_fp6": "OCP Microscaling v1.0 leaves it to the implementation",
    "mxint8_least": "OCP Microscaling v1.0: the code may be left unused",
    "zero_block_scale": "OCP Microscaling v1.0 leaves it to the implementation",
    "mx_scale": "the table of BLK-3",
    "nvfp4_scale": "the table of BLK-4; with `+up`, `+down`, `+least`, `+normal` behind",
    "block_quotient": "the table of BLK-5",
    "block_product": "the table of BLK-6",
    "block_dot": "the table of BLK-8",
}
"""Where the choices of a policy come from."""


def operations() -> str:
    """Every operation with its operands and attributes."""
    found = [f"`{_call(name, function)}`" for name, function in OPERATIONS.items()]
    return ", ".join(found) + "."


def choices() -> dict[str, tuple[str, ...]]:
    """Policy -> its choices, the reference's first, in the order in which SPEC.md names them."""
    seen: dict[str, dict[str, None]] = {}
    for case in load_frozen():
        if case.policy is not None and case.choice is not None and not is_told(case):
            names = seen.setdefault(case.policy, {})
            names.update(dict.fromkeys((case.choice, *case.alternatives)))
    found = {policy: tuple(names) for policy, names in seen.items()} | dict(OTHER_POLICIES)
    return {policy: found[policy] for policy in sorted(found, key=_first_clause)}


def followers() -> dict[str, dict[str, list[str]]]:
    """Policy -> choice -> the backends that followed it in a run of the cases that tell."""
    loaded = load_frozen()
    chosen = [case for case in loaded if case.policy is not None and not is_told(case)]
    runs = Runner(loaded, chosen, Plan(Limits(timeout=60.0), None, 1)).run_all(list(BACKENDS))
    found: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        for policy, counts in run.policies.items():
            for choice in counts:
                found.setdefault(policy, {}).setdefault(choice, []).append(run.backend)
    return found


def policies(follow: Mapping[str, Mapping[str, list[str]]]) -> str:
    """The table of policies.

    Args:
        follow: As :func:`followers` gives it.
    """
    lines = ["| policy | clauses | choices, and who follows them | source |", "|---|---|---|---|"]
    for policy, names in choices().items():
        clauses = ", ".join(_clauses(policy))
        shown = []
        for index, choice in enumerate(names):
            who = follow.get(policy, {}).get(choice, [])
            first = index == 0 and policy not in WITHOUT_REFERENCE
            words = ["reference"] * first + [name for name in who if name != "numpy-reference"]
            shown.append(f"`{choice}`" + (f" ({', '.join(words)})" if words else ""))
        lines.append(f"| `{policy}` | {clauses} | {'; '.join(shown)} | {SOURCES[policy]} |")
    return "\n".join(lines)


def block(text: str, name: str) -> str:
    """What stands between the markers of a block."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->", text, re.S)
    if found is None:
        raise ValueError(f"no block {name!r}")
    return found[1].strip("\n")


def replaced(text: str, name: str, new: str) -> str:
    """A text with another block between its markers."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    return pattern.sub(lambda found: f"{found[1]}{new}\n{found[2]}", text)


def _call(name: str, function: Callable[..., Any]) -> str:
    shown = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in HIDDEN or parameter.name.startswith("_"):
            continue
        text = parameter.name
        if parameter.kind is parameter.VAR_POSITIONAL:
            text += "…"
        elif parameter.default is not parameter.empty:
            text += f"={parameter.default!r}"
        shown.append(text)
    return f"{name}({', '.join(shown)})"


def _clauses(policy: str) -> list[str]:
    said = re.compile(rf"[Pp]olicy,? `{policy}`")
    return [name for name, clause in spec_clauses().items() if said.search(clause.text)]


def _first_clause(policy: str) -> int:
    order = list(spec_clauses())
    return order.index(_clauses(policy)[0])


def main() -> None:
    """Write both blocks into SPEC.md of the checkout."""
    path = Path(str(files("quant_reference").joinpath("SPEC.md")))
    table = None if "--operations" in sys.argv else policies(followers())  # takes a while
    text = replaced(path.read_text(encoding="utf-8"), "operations", operations())
    text = text if table is None else replaced(text, "policies", table)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
