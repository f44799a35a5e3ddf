"""What the converters get wrong or lack, written out in operations that they get right.

A converter that leaves an argument out, or puts an approximation where there was none, changes the
model without a word. For each such operation there is a rule: a function of the operation's
arguments that gives the same by others. ``docs/converters.md`` says what the converters do
with each operation on their own, and what comes of it here.
"""

from quant_torch.export.rewriting._rule import Rule, Rules
from quant_torch.export.rewriting.tables import COREAI, COREML, over

__all__ = ["COREAI", "COREML", "Rule", "Rules", "over"]
