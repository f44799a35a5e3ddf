"""Questions about the bytes of a tensor, answered without torch.

These are asked for every weight and every activation in every forward pass, and libc and xxhash are
several times as fast as the tensor operations that would do.
"""

from __future__ import annotations

import ctypes
import functools
import sys

import torch
import xxhash

from quant_torch.quantization.spec._fast.switch import SWITCH

_LIBC = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
_memcmp = _LIBC.memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memchr = _LIBC.memchr
_memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
_memchr.restype = ctypes.c_void_p


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors without gaps in memory agree bit by bit; False where there are gaps."""
    if a.shape != b.shape or a.dtype != b.dtype or not (a.is_contiguous() and b.is_contiguous()):
        return False
    if SWITCH.on and a.device.type == "cpu":
        return _memcmp(a.data_ptr(), b.data_ptr(), a.numel() * a.element_size()) == 0
    return torch.equal(a.view(-1).view(torch.uint8), b.view(-1).view(torch.uint8))


def fingerprint(tensor: torch.Tensor) -> bytes | torch.Tensor:
    """What tells the content of a tensor without gaps in memory from any other.

    On a CPU that is a hash of 128 bits (XXH3), which takes half the reading that a comparison with
    a copy does, and no memory; one change in 2**128 leaves it as it was. Elsewhere it is a copy.
    """
    if not SWITCH.on or tensor.device.type != "cpu":
        return tensor.clone()
    size = tensor.numel() * tensor.element_size()
    if size == 0:
        return b""
    return xxhash.xxh3_128_digest(_bytes_type(size).from_address(tensor.data_ptr()))


def has_fingerprint(tensor: torch.Tensor, known: bytes | torch.Tensor) -> bool:
    """Whether a tensor still has the content that :func:`fingerprint` was taken of."""
    if isinstance(known, torch.Tensor):
        return same_bits(tensor, known)
    return tensor.is_contiguous() and fingerprint(tensor) == known


@functools.lru_cache(maxsize=128)
def _bytes_type(size: int) -> type[ctypes.Array[ctypes.c_char]]:
    return ctypes.c_char * size


def holds_zero_byte(flags: torch.Tensor) -> bool:
    """Whether any of a new tensor of bools, which has no gaps in memory, is False."""
    if SWITCH.on and flags.device.type == "cpu" and type(flags) is torch.Tensor:
        # A tensor without elements may have no address, and then holds nothing.
        return flags.numel() > 0 and _memchr(flags.data_ptr(), 0, flags.numel()) is not None
    return not bool(flags.all())
