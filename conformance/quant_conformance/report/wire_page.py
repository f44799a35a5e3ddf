"""What of docs/wire.md follows from the code; ``python -m quant_conformance.report.wire_page``.

Each stands between ``<!-- made: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np

from quant_conformance.wire.limits import Options
from quant_conformance.wire.model import ASKABLE, DTYPES, NOT_ON_THE_WIRE, STATUSES, Record
from quant_conformance.wire.raw import ANSWERS, QUESTIONS, header, record_bytes
from quant_vectors import OPERATION_OUTPUTS, load_frozen

_MADE = re.compile(r"(?<=<!-- made: )(?P<name>\w+) -->\n.*?(?=<!-- end -->)", re.S)
_ENDS = ("low", "high", "likely_low", "likely_high")


def filled(page: str) -> str:
    """Returns the page with every part anew."""
    return _MADE.sub(lambda found: f"{found['name']} -->\n{_PARTS[found['name']]()}", page)


def operations_table() -> str:
    """Operations, the families of the frozen sets that ask them, and what an answer holds."""
    families: dict[str, list[str]] = {}
    for case in load_frozen().cases:
        if case.family not in families.setdefault(case.operation, []):
            families[case.operation].append(case.family)
    lines = ["| operation | families | tensors of an answer |", "|---|---|---|"]
    for operation in ASKABLE:
        names = [f"`{n}`" for n in OPERATION_OUTPUTS[operation] if n not in _ENDS]
        given = ", ".join(names) or "none; the attribute `result` for `default_axis`"
        asked = ", ".join(families.get(operation, ["(sets of your own)"]))
        lines.append(f"| `{operation}` | {asked} | {given} |")
    for operation, reason in NOT_ON_THE_WIRE.items():
        asked = ", ".join(families.get(operation, ["(sets of your own)"]))
        lines.append(f"| `{operation}` | {asked} | cannot be asked: {reason} |")
    return "\n".join(lines) + "\n"


def dtypes_table() -> str:
    """Codes of the dtypes."""
    lines = ["| code | dtype | safetensors |", "|--:|---|---|"]
    lines += [f"| {d.code} | `{name}` | `{d.safetensors}` |" for name, d in DTYPES.items()]
    return "\n".join(lines) + "\n"


def statuses_table() -> str:
    """Numbers of the statuses."""
    return "\n".join([*(f"- {n}: `{name}`" for n, name in enumerate(STATUSES)), ""])


def options_table() -> str:
    """Options of programs with their defaults."""
    lines = ["| option | default |", "|---|---|"]
    lines += [f"| `{f.name}` | `{getattr(Options, f.name)!r}` |" for f in fields(Options)]
    return "\n".join(lines) + "\n"


def printed_case() -> str:
    """A question and its answer in the raw format, byte by byte."""
    x, codes = np.array([1.0625, -0.0], np.float32), np.array([0x38, 0x80], np.uint8)
    arguments = {"arguments": {"format": "float8_e4m3fn"}}
    question = Record(7, "question", "encode", arguments, {"x": x})
    answer = Record(7, "answered", "", {}, {"codes": codes})
    return "".join(
        [
            "```text\n",
            *_dump(header(QUESTIONS, 1) + record_bytes(question)),
            "```\n\nIts answer:\n\n```text\n",
            *_dump(header(ANSWERS, 1) + record_bytes(answer)),
            "```\n",
        ]
    )


def _dump(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        shown = "".join(chr(b) if 32 <= b < 127 else "." for b in piece)
        yield f"{at:04x}  {piece.hex(' '):<47}  {shown}\n"


_PARTS = {
    "operations": operations_table,
    "dtypes": dtypes_table,
    "statuses": statuses_table,
    "options": options_table,
    "case": printed_case,
}


def main() -> int:
    """Rewrites the page."""
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/wire.md")
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
