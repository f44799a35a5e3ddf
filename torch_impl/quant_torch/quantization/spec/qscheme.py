"""How the range of a tensor becomes quantization parameters."""

from enum import StrEnum


class QuantizationScheme(StrEnum):
    """Quantization scheme (SPEC.md, QP-2 to QP-5).

    Attributes:
        SYMMETRIC: The code of zero is the middle of the format; every code is used.
        ASYMMETRIC: The codes span the range as it is.
        SYMMETRIC_WITH_CLIPPING: Symmetric without the lowest code of a signed format.
    """

    SYMMETRIC = "symmetric"
    ASYMMETRIC = "asymmetric"
    SYMMETRIC_WITH_CLIPPING = "symmetric_with_clipping"
