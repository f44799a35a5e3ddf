"""Arguments of ATen operations that cannot change what an operation computes."""

from __future__ import annotations

from collections.abc import Mapping

_SHAPE = "the shapes of the operand and of the result say it"
_LAYOUT = "where and how a tensor is stored, which its values do not depend on"
_KERNEL = "which kernel computes it; every order of the roundings is admitted (ADM-2)"
_GRADIENT = "of the gradient alone"

WITHOUT_EFFECT: Mapping[tuple[str, str], str] = {
    ("*", "memory_format"): _LAYOUT,
    ("*", "non_blocking"): _LAYOUT,
    ("to_copy", "layout"): _LAYOUT,
    ("to_copy", "device"): _LAYOUT,
    ("to_copy", "pin_memory"): _LAYOUT,
    ("to_copy", "dtype"): "the dtypes of the operand and of the result say it",
    ("view", "size"): _SHAPE,
    ("unsafe_view", "size"): _SHAPE,
    ("reshape", "shape"): _SHAPE,
    ("squeeze", "dim"): _SHAPE,
    ("unsqueeze", "dim"): _SHAPE,
    ("expand", "size"): _SHAPE,
    ("expand", "implicit"): "who asked for it, the user or a broadcast",
    ("split", "split_size"): _SHAPE,
    ("split", "split_sizes"): _SHAPE,
    ("split_with_sizes", "split_sizes"): _SHAPE,
    ("unsafe_split", "split_size"): _SHAPE,
    ("unsafe_split_with_sizes", "split_sizes"): _SHAPE,
    ("native_group_norm", "N"): _SHAPE,
    ("native_group_norm", "C"): _SHAPE,
    ("native_group_norm", "HxW"): _SHAPE,
    ("convolution", "benchmark"): _KERNEL,
    ("convolution", "deterministic"): _KERNEL,
    ("convolution", "cudnn_enabled"): _KERNEL,
    ("convolution", "allow_tf32"): "recordings are made on the CPU, which has no TF32",
    ("native_batch_norm", "momentum"): "of the running statistics, which this run does not change",
    ("native_batch_norm_legit", "momentum"): "as for native_batch_norm",
    ("native_batch_norm_legit_no_training", "momentum"): "as for native_batch_norm",
    ("embedding", "padding_idx"): _GRADIENT,
    ("embedding", "scale_grad_by_freq"): _GRADIENT,
    ("embedding", "sparse"): _GRADIENT,
    ("gather", "sparse_grad"): _GRADIENT,
}
"""Operation, or ``*`` for all, and its argument -> why nothing has to read it."""
