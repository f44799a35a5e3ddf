"""Names of answers: the rules that give one, in one line with blanks between them.

``rule@*`` is a rule of integer layers under every order of its multiplier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quant_conformance.protocol import Array
from quant_reference.integer import POOL_RULES, RULES, rule_names

EVERY_ORDER = "@*"


def grouped(found: Mapping[str, Array]) -> dict[str, Array]:
    """The distinct answers, each under the names of its rules, in the order of the rules."""
    groups: dict[bytes, list[str]] = {}
    for name, codes in found.items():
        groups.setdefault(codes.tobytes(), []).append(name)
    return {shortened(names): found[names[0]] for names in groups.values()}


def shortened(names: Iterable[str]) -> str:
    """Names of rules in one line; a rule that is there under every order is ``rule@*``."""
    ordered = list(names)
    given = set(ordered)
    parts: list[str] = []
    for rule in RULES.values():
        own = rule_names(rule)
        if len(own) > 1 and given.issuperset(own):
            parts.append(rule.name + EVERY_ORDER)
        else:
            parts += [name for name in own if name in given]
    parts += [name for name in POOL_RULES if name in given]
    told = {rule for part in parts for rule in expanded(part)}
    return " ".join([*parts, *(name for name in ordered if name not in told)])


def expanded(text: str) -> tuple[str, ...]:
    """The rules that a line names, the inverse of :func:`shortened`."""
    names: list[str] = []
    for part in text.split():
        base, every, _ = part.partition(EVERY_ORDER)
        names += rule_names(RULES[base]) if every else [part]
    return tuple(names)
