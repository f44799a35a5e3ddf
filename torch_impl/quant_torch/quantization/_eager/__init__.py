"""Eager mode: quantization through ``__torch_function__``, without graph capture."""
