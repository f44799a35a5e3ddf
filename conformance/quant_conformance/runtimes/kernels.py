"""Which of its kernels torch takes where the suite computes with it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from torch.backends import nnpack


def plain_sums() -> AbstractContextManager[Any]:
    """Keeps torch from convolutions that ADM-1 does not admit.

    Without oneDNN, on a processor or in a build that lacks it, torch gives batches of 16 and more
    to NNPACK, whose 3x3 kernels are Winograd's: an error of many roundings more than a sum has.
    """
    context: AbstractContextManager[Any] = nnpack.flags(enabled=False)
    return context
