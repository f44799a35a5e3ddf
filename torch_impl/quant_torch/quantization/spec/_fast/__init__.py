"""What makes the formulas fast, and changes no bit of a result.

Scratch memory and parts (:mod:`.kernels`), questions to libc and xxhash (:mod:`.memory`), code maps
that are kept (:mod:`.known_maps`), weights that are not quantized again (:mod:`.value_cache`) and
per-tensor observers in Python numbers (:mod:`.scalar_qparams`). :mod:`.switch` turns all of them
off; what remains is :mod:`quant_torch.quantization.spec.formulas`.
"""
