"""What came of asking a backend one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "answer",
    "malformed",
    "unsupported",
    "raised",
    "died",
    "timed_out",
    "unanswered",
    "left_out",
    "invalid",
]


@dataclass(frozen=True)
class Outcome:
    """What came of asking one case.

    Attributes:
        kind: "answer", or what came in its stead; "invalid" if the case cannot be asked at all.
        outputs: output name to array (or to an int or word, for operations without tensors).
        text: the reason or the error.
        refused: whether the exception can be meant as a refusal of the arguments.
        mutated: names of the inputs that the backend wrote into.
        trace: the traceback of what was raised.
        printed: what the backend printed; known only where a single case is asked.
    """

    kind: Kind
    outputs: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    refused: bool = False
    mutated: tuple[str, ...] = ()
    trace: str = ""
    printed: str = ""
