"""Text on terminals and in files that cannot show every character: nothing is ever a traceback."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from typing import Final

HANDLER: Final = "quant-conformance-plain"
"""Name of the error handler of ``codecs`` that spells what an encoding lacks."""

_SPELLED: Final = {
    **dict(zip("·−–—─✓✗×⌊⌋⌈⌉", ".----vxx[][]", strict=True)),
    **{"…": "...", "→": "->", "±": "+-", "∓": "-+", "½": "1/2", "≤": "<=", "≥": ">="},
    **{"∞": "inf", "√": "sqrt", "≈": "~", "≠": "!=", "∈": "in", "⁻": "^-"},
    **dict(zip("‘’“”", "''\"\"", strict=True)),
    **{raised: f"^{digit}" for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{"ᵀ": "^T", "ˣ": "^x", "\u0303": "~", "\N{NO-BREAK SPACE}": " "},
}
"""What the suite itself writes, in ASCII."""


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(_SPELLED.get(c) or _named(c) for c in part), error.end


def _named(character: str) -> str:
    """Writes a Greek letter by its name, anything else as an escape."""
    alphabet, *_, name = unicodedata.name(character, "NO NAME").split()
    if alphabet == "GREEK":
        return name.lower()
    return character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(HANDLER, _spell)


def spell_what_cannot_be_shown() -> None:
    """Makes standard output and standard error write any text, in the encoding that they have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def spelled(text: str, encoding: str) -> str:
    """Returns text as a stream of this encoding will show it, to be laid out in columns."""
    return text.encode(encoding, HANDLER).decode(encoding)
