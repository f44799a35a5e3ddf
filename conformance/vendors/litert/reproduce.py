"""What docs/integer_engines.md says of LiteRT, on the smallest inputs and with LiteRT alone."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(
    0, os.path.join(HERE, "..", "..", "quant_conformance", "wire", "templates", "python")
)

import layers  # noqa: E402
import numpy as np  # noqa: E402
from models import KERNELS, Operand, run  # noqa: E402


def connected(kernels, acc, multiplier):
    """FULLY_CONNECTED over one 0, the accumulators as its bias."""
    one, shape = np.float32(1), [len(acc), 1]
    return layers.fully_connected(
        kernels,
        Operand("int8", [1, 1], np.zeros([1, 1], np.int8), one),
        Operand("int8", shape, np.zeros(shape, np.int8), one),
        Operand("int8", [1, len(acc)], None, np.float32(1 / multiplier)),
        np.array(acc, np.int32),
        "NONE",
    ).ravel()


def quantized(kernels, x, scale):
    x = np.array(x, np.float32)
    result = Operand("int8", x.shape, None, np.float32(scale))
    return run(kernels, "QUANTIZE", [Operand("float32", x.shape, x)], result)


for kernels in KERNELS:
    print(kernels)
    print("  ties of QUANTIZE, expected 0 2 2 -2:", quantized(kernels, [0.5, 1.5, 2.5, -1.5], 1))
    print("  3e9, inf, expected 127 127:", quantized(kernels, [3e9, np.inf], 1))
    print("  0.0015 / 0.001, expected 2:", quantized(kernels, [0.0015], 0.001))
    print("  accumulators -6 6 times 1/4:", connected(kernels, [-6, 6], 0.25))
    print("  2**30 times 2, expected 127:", connected(kernels, [2**30], 2.0))
