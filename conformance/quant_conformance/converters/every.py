"""All cases."""

from quant_conformance.converters.cases import LAYER_CASES
from quant_conformance.converters.element_cases import ELEMENT_CASES

CASES = (*LAYER_CASES, *ELEMENT_CASES)
"""Every operation at every setting."""
