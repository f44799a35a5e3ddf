"""Being known to torchao's PT2E helpers, without importing torchao."""

from __future__ import annotations

import sys


def register_with_torchao(base: type) -> None:
    """Make a base of fake-quantize modules a virtual subclass of torchao's own.

    ``torchao.quantization.pt2e.disable_fake_quant`` and its siblings do nothing to other modules.
    Where torchao's module was never imported, nobody can hold such a function, and nothing is done.
    """
    module = sys.modules.get("torchao.quantization.pt2e.fake_quantize")
    if module is not None:
        module.FakeQuantizeBase.register(base)
