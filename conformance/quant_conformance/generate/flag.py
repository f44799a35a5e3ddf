"""Flag: what a case is there to catch."""

from __future__ import annotations

from typing import NamedTuple


class Flag(NamedTuple):
    """What a flag means.

    Attributes:
        bug: What an implementation gets wrong.
        effect: What its user then sees.
        link: One place where it was seen: ``owner/repo#number``, a paper, or empty.
    """

    bug: str
    effect: str
    link: str
