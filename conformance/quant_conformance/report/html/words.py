"""How verdicts and numbers are put; no meaning rests on colour alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal
from urllib.parse import urlsplit

from quant_conformance.verdicts.verdict import FAILURES, RANK, Verdict

Tone = Literal["good", "known", "muted", "bad"]

SYMBOLS: Mapping[Tone, str] = {"good": "✓", "known": "~", "muted": "–", "bad": "✗"}
"""A sign beside each colour."""

MEANINGS: Mapping[Tone, str] = {
    "good": "as the specification says",
    "known": "not right, and known",
    "muted": "not judged",
    "bad": "failed",
}
"""What the signs mean, as legends say."""

_BY_RANK: tuple[Tone, ...] = ("good", "known", "muted", "bad")
_WORST_FIRST: tuple[Tone, ...] = ("bad", "known", "good", "muted")


def tone(verdict: Verdict) -> Tone:
    """Classes a verdict by its rank; whatever fails a run is bad."""
    return "bad" if verdict in FAILURES else _BY_RANK[min(RANK[verdict], 3)]


def worst(tones: Iterable[Tone]) -> Tone:
    """Sums several up: the worst, and "muted" only if nothing was judged."""
    found = set(tones)
    return next((tone for tone in _WORST_FIRST if tone in found), "muted")


def label(verdict: str) -> str:
    """Writes a verdict as words: ``timed out``."""
    return verdict.replace("_", " ")


def percent(part: float, whole: float = 1.0) -> str:
    """Writes a share; one that is not all is never rounded to 100 %, nor one to 0 % that is not.

    Args:
        part: the part.
        whole: what it is a part of.
    """
    if whole == 0 or part == 0:
        return "0\u00a0%"
    share = 100 * part / whole
    if part == whole:
        return "100\u00a0%"
    if share < 0.01:
        return "<\u00a00.01\u00a0%"
    digits = f"{share:.3g}" if share < 99.9 else f"{min(share, 99.99):.2f}"
    return f"{digits}\u00a0%"


def count(number: int, one: str, many: str | None = None) -> str:
    """Writes a number of things: ``1 case``, ``1,234 cases``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def web_address(link: str | None) -> str | None:
    """Returns the link if it may be followed from anywhere: http or https, nothing that runs."""
    if link is None:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    return link if parts.scheme in ("http", "https") and parts.netloc else None
